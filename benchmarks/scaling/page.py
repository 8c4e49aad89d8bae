"""docs/scaling.md: what the model says, with what it is fed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.rounds import markdown, significant
from benchmarks.scaling import figures
from benchmarks.scaling.collectives import Cluster, Link, hierarchical
from benchmarks.scaling.figures import CARDS, Figure
from benchmarks.scaling.step import Step, efficiency, predict
from mixnet_core.recipe.recipe import load_recipe

NOTE = (
    "<!-- Written by `python -m benchmarks.scaling`. Change benchmarks/scaling, not this page. -->"
)
COUNTS = (8, 16, 32, 64, 128, 256, 512, 1024)
RECIPES = ("mixnet_s", "mixnet_m", "mixnet_l", "mixnet_xl")
_GIGABIT = 1e9 / 8
# The link between hosts -> what it gives, and whether each card has one of its own.
LINKS: dict[str, tuple[float, bool]] = {
    "RoCE, 200 Gb/s a card": (figures.BETWEEN.value, True),
    "Ethernet, 100 Gb/s a host": (100 * _GIGABIT, False),
    "Ethernet, 25 Gb/s a host": (25 * _GIGABIT, False),
    "Ethernet, 10 Gb/s a host": (10 * _GIGABIT, False),
    "Ethernet, 1 Gb/s a host": (1 * _GIGABIT, False),
}


def linked(name: str) -> Cluster:
    """Returns the hosts with another link between them."""
    speed, each_card = LINKS[name]
    link = Link(figures.LATENCY.value, speed)
    return replace(figures.cluster(), between=link, each_card=each_card)


def steps(cluster: Cluster, counts: Sequence[int] = COUNTS) -> list[Step]:
    """Predicts MixNet-S with 128 images a card, as published."""
    work, supply = figures.work(), figures.supply()
    return [predict(count, work, cluster, supply) for count in counts]


def page() -> str:
    """Returns the page's Markdown."""
    parts = [
        "# Over several hosts: what a model says",
        NOTE,
        "**Predicted, not measured.** No accelerator was at hand. A step is computing, waiting for "
        "the slowest card, and one AllReduce of all gradients, which nothing hides; input and "
        "store "
        "matter where they take longer. The computing is fitted to the published step on eight "
        "cards: there the model is right by construction, beyond it nothing was published that it "
        "could be held to. `python -m benchmarks.scaling` writes this page from "
        "[Numbers](numbers.md) and `benchmarks/scaling/figures.py`; put your link, store and "
        "cores there.",
        *_scaled(),
        *_kept(),
        *_links(),
        *_recipes(),
        *_here(),
        *_fed(),
    ]
    return "\n\n".join(parts) + "\n"


def _scaled() -> list[str]:
    work = figures.work()
    rows = [
        (
            f"{step.cards:,}",
            f"{step.images:,}",
            _ms(step.computing),
            _ms(step.waiting),
            _ms(step.averaging),
            _ms(step.seconds),
            f"{100 * efficiency(step, work):.1f} %",
            f"{step.speed:,.0f}",
            f"{step.speed * figures.image_bytes() / 1e9:.2f}",
            step.limit,
        )
        for step in steps(figures.cluster())
    ]
    first = steps(figures.cluster(), (CARDS,))[0]
    again = figures.PUBLISHED_AGAIN.value / first.seconds - 1
    supply = figures.supply()
    rate = work.images / first.seconds
    cards_of_store = int(supply.store_bytes_per_second / (rate * supply.image_bytes))
    cores = rate / figures.measured()["decoding"].value
    return [
        "## As published, 128 images a card",
        "MixNet-S with `--scale-lr`: the global batch grows with the cards. An efficiency of 100 % "
        "is a card alone.",
        markdown(
            [
                "cards", "global batch", "computing, ms", "slowest card, ms", "AllReduce, ms",
                "step, ms", "efficiency", "img/s", "read, GB/s", "limit",
            ],
            rows,
        ),
        "![Efficiency by cards and links](images/scaling.png)",
        f"- **Against what was published.** Eight cards: {_ms(first.seconds)} ms and "
        f"{first.speed:,.2f} img/s, as the hub's card says "
        f"({_ms(figures.PUBLISHED_STEP.value, 2)} ms, "
        f"{figures.PUBLISHED_SPEED.value:,.2f} img/s): fitted. MindCV's README has "
        f"{_ms(figures.PUBLISHED_AGAIN.value, 2)} ms for the same ({100 * again:+.1f} %): no "
        "figure "
        "here is better than that.",
        f"- **The network is no limit**: {figures.gradients('s')[1] / 1e6:.1f} MB of gradients "
        "take "
        f"{_ms(steps(figures.cluster(), (1024,))[0].averaging, 1)} ms over 128 hosts. What cards "
        "wait for is the slowest of them.",
        f"- **Input.** A card wants {rate:.0f} img/s, the work of {cores:.1f} cores of this "
        f"project's machine. A host of {figures.HOST_CORES.value:.0f} cores that do "
        f"{figures.CORE_SHARE.value:.0%} of that decodes {supply.images_per_second:,.0f} img/s, "
        f"{supply.images_per_second / rate / CARDS:.1f} times what its cards want. Hosts bring "
        "their "
        "own cores, so this does not change with their number.",
        f"- **Store.** While nothing is on the hosts, a store of "
        f"{supply.store_bytes_per_second / 1e9:.0f} GB/s feeds {cards_of_store} cards. Beyond that "
        f"the first epoch takes as long as reading {figures.TRAIN_BYTES.value / 1e9:.0f} GB does; "
        "later ones come from the hosts' disks or memory.",
    ]  # fmt: skip


def _kept() -> list[str]:
    rows = []
    for count in COUNTS:
        work = figures.work(images=1024 // count)
        step = predict(count, work, figures.cluster(), figures.supply())
        rows.append(
            (
                f"{count:,}",
                f"{work.images}",
                _ms(step.seconds, 2),
                f"{100 * efficiency(step, work):.0f} %",
                f"{step.speed:,.0f}",
            )
        )
    return [
        "## The published global batch kept, 1,024 images",
        "Without `--scale-lr` the same images are spread over more cards. **At best**: computing "
        "is "
        "taken as proportional to a card's images, which it stops being when they are few.",
        markdown(["cards", "images a card", "step, ms", "efficiency", "img/s"], rows),
    ]


def _links() -> list[str]:
    work = figures.work()
    rows = []
    for name in LINKS:
        found = steps(linked(name), (16, 32, 128, 1024))
        cells = [f"{_ms(step.averaging, 1)} ({efficiency(step, work):.0%})" for step in found]
        rows.append((name, *cells))
    return [
        "## Other links between hosts",
        "AllReduce in ms, and the step's efficiency, with 128 images a card. A host's one port "
        "carries the shares of all its eight cards. Ethernet's speeds are nominal.",
        markdown(["link", "16 cards", "32 cards", "128 cards", "1,024 cards"], rows),
    ]


def _recipes() -> list[str]:
    rows = []
    for name in RECIPES:
        recipe = load_recipe(name)
        variant, training = recipe.network.variant, recipe.training
        images = round(figures.TRAIN_IMAGES.value * (1 - recipe.data.select_share))
        size = figures.bundle_bytes(variant, averages=training.ema_decay is not None)
        saving = size / figures.measured()["uploading"].value
        bundles = training.epochs // (training.checkpoint_every_epochs or training.epochs)
        hours = []
        each = training.global_batch // CARDS
        for count in (8, 64, 1024):
            work = figures.work(variant, each)
            step = predict(count, work, figures.cluster(), figures.supply())
            taken = training.epochs * (images // step.images) * step.seconds + bundles * saving
            hours.append(f"{taken / 3600:,.1f}")
        rows.append(
            (
                f"`{name}`",
                f"{training.epochs}",
                f"{each}",
                f"{training.epochs * (images // training.global_batch):,}",
                *hours,
                f"{bundles}",
                f"{size / 1e6:.0f}",
                f"{saving:.2f}",
            )
        )
    return [
        "## Hours and checkpoints of the recipes",
        "ImageNet-1k without the share that `select` keeps; images a card as the recipe has "
        "them, so "
        "the global batch grows with the cards. A bundle is written after each epoch while all "
        "wait; the newest 10 and the best are kept. Scoring, a cold store and starting are not in "
        "there. m, l and xl follow their multiply-adds: what they do on these cards was not "
        "published.",
        markdown(
            [
                "recipe", "epochs", "images a card", "steps on 8 cards", "hours, 8 cards",
                "64 cards", "1,024 cards", "bundles", "MB each", "s each",
            ],
            rows,
        ),
        "Published recipes are for a global batch of 1,024 (xl: 256). What a larger one does to "
        "top-1 this model does not say; no published MixNet was trained with 131,072 images a "
        "step.",
    ]  # fmt: skip


def _here() -> list[str]:
    found = figures.loopback()
    link = found.link
    return [
        "## The same formula on this project's machine",
        f"Two ranks on two cores average {found.size / 1e6:.2f} MB, in one message or in "
        f"{found.tensors} tensors. The difference gives {significant(link.seconds * 1e6)} µs a "
        f"message, the rest {significant(link.bytes_per_second / 1e6)} MB/s (MindSpore's CPU "
        "collective over loopback, cores shared with the ranks). Two unknowns from two figures: "
        "a fit, "
        "no test, and the ratios it rests on spread by a quarter.",
    ]


def _fed() -> list[str]:
    fixed: list[Figure] = [
        figures.PUBLISHED_STEP, figures.PUBLISHED_AGAIN, figures.PUBLISHED_SPEED,
        figures.TRAIN_IMAGES, figures.TRAIN_BYTES, *figures.measured().values(),
        figures.INSIDE, figures.BETWEEN,
        figures.LATENCY, figures.JITTER, figures.STORE, figures.HOST_CORES, figures.CORE_SHARE,
    ]  # fmt: skip
    rows = [
        (one.name, f"{_plain(one.value)} {one.unit}".strip(), one.kind, one.source) for one in fixed
    ]
    adds = ", ".join(f"{name} {value:.0f}" for name, value in figures.MULTIPLY_ADDS.items())
    rows.append(("multiply-adds, millions", adds, "published", figures.MULTIPLY_ADDS_SOURCE))
    count, size = figures.gradients("s")
    inside = hierarchical(size, CARDS, figures.cluster())
    return [
        "## What it is fed with",
        markdown(["figure", "value", "kind", "source"], rows),
        f"Gradients of s are {size:,} bytes in {count} tensors, by the network's own list of "
        "parameters, "
        f"in float32. Averaged inside one host they take {_ms(inside)} ms of the published step.",
        "Formulas: an AllReduce of B bytes over p takes 2 (p-1) (a + B/(p b)) as a ring, 2 "
        "log2(p) a "
        "+ 2 (p-1)/p B/b by halving and doubling, 2 (a + B/(p b)) where each is linked to each; "
        "over "
        "hosts a share of each card's inside, then between hosts by the faster of the first two, "
        "then "
        "inside again. Of n cards the slowest is expected F((n-3/8)/(n+1/4)) standard deviations "
        "above the mean, F being the inverse of the normal distribution.",
    ]


def _ms(seconds: float, digits: int = 2) -> str:
    return f"{1000 * seconds:.{digits}f}"


def _plain(value: float) -> str:
    """Writes a figure with four digits, large ones in powers of ten."""
    if value == int(value) and value < 1e12 and (value < 1e9 or value % 1e9):
        return f"{value:,.0f}"
    if value < 1e-3 or value >= 1e6:
        power = math.floor(math.log10(value) / 3) * 3
        return f"{value / 10**power:.6g}e{power}"
    return f"{value:.6g}"
