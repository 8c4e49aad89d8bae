"""What the model is fed with: each figure with its kind and source. Nothing measured is typed here.

Published and assumed figures stand in this file. What was measured on this project's machines is
read from docs/numbers.md, its one place, by section, row and column.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from benchmarks.scaling.collectives import Cluster, Link
from benchmarks.scaling.step import Supply, Work, fitted
from mixnet_core.model.variants import VariantName
from mixnet_core.model.weight_names import parameters

NUMBERS = Path(__file__).parents[2] / "docs" / "numbers.md"
Kind = Literal["published", "measured here", "measured elsewhere", "assumed"]
_STATISTICS = ("moving_mean", "moving_variance")


@dataclass(frozen=True)
class Figure:
    """Holds one figure.

    Attributes:
        value: in the unit.
        source: where it stands; of what is assumed, why.
    """

    name: str
    value: float
    unit: str
    kind: Kind
    source: str


class NoRecordError(ValueError):
    """Raised where docs/numbers.md has no such section, row, column or number any more."""


def recorded(section: str, row: str, column: int, numbers: Path = NUMBERS) -> float:
    """Reads the first number of a table's cell.

    Args:
        section: heading, without its marks.
        row: how the row's first cell begins, without asterisks.
        column: 0 is the first cell.

    Raises:
        NoRecordError: it is not there.
    """
    text = numbers.read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n## {section}\n")
    body = re.split(r"\n## ", rest)[0] if found else ""
    for line in body.splitlines():
        cells = [cell.strip().replace("*", "") for cell in line.strip("|").split("|")]
        if cells[0].startswith(row) and len(cells) > column:
            number = re.search(r"\d[\d,]*(?:\.\d+)?", cells[column])
            if number:
                return float(number[0].replace(",", ""))
    raise NoRecordError(f"docs/numbers.md: no number in column {column} of {row!r} in {section!r}")


CARDS = 8
PUBLISHED_STEP = Figure(
    "a step of MixNet-S, 8 cards of 128 images, 224 px", 0.22803, "s", "published",
    "MindCV, benchmark_results.md, Atlas 800T A2, graph mode O2; the hub's card of mixnet_s",
)  # fmt: skip
PUBLISHED_AGAIN = Figure(
    "the same step, published again", 0.22355, "s", "published",
    "MindCV, configs/mixnet/README.md, Atlas 800T A2, MindSpore 2.5.0",
)  # fmt: skip
PUBLISHED_SPEED = Figure(
    "img/s of that step", 4490.64, "img/s", "published", "beside the step: 1,024 images over it"
)
INSIDE = Figure(
    "between two cards of a host (HCCS), one way", 19.371e9, "B/s", "measured elsewhere",
    "HIXL, benchmarks/A2_benchmark_performance.md: device to device, blocks of 8 MB",
)  # fmt: skip
BETWEEN = Figure(
    "between two hosts, a card's own port (RoCE of 200 Gb/s)", 22.604e9, "B/s",
    "measured elsewhere", "the same table, RDMA",
)  # fmt: skip
LATENCY = Figure(
    "a message, however small", 50e-6, "s", "assumed",
    "HCCL's share included; networks of this kind take a tenth of it for the message alone",
)  # fmt: skip
JITTER = Figure(
    "how much a card's computing differs from step to step", 0.01, "of it", "assumed",
    "standard deviation; nobody publishes it",
)  # fmt: skip
TRAIN_IMAGES = Figure(
    "images of ImageNet-1k's train split", 1_281_167, "", "published", "ILSVRC2012"
)
TRAIN_BYTES = Figure(
    "their archive", 147_897_477_120, "B", "published", "size of ILSVRC2012_img_train.tar"
)
STORE = Figure(
    "a store, for all hosts together", 10e9, "B/s", "assumed",
    "an ordinary object store or shared file system; take your own",
)  # fmt: skip
HOST_CORES = Figure(
    "cores of a host of 8 cards", 192, "", "assumed", "four processors of 48; take your own"
)
CORE_SHARE = Figure(
    "what such a core decodes, against one of this project's machine", 0.5, "of it", "assumed",
    "slower cores without AVX-512, and others' work",
)  # fmt: skip
# Multiply-adds of one image in millions: what computing is taken to be proportional to.
MULTIPLY_ADDS: dict[VariantName, float] = {"s": 256, "m": 360, "l": 565, "xl": 900}
MULTIPLY_ADDS_SOURCE = (
    "arXiv:1907.09595, table 2; xl: timm's card of mixnet_xl.ra_in1k, 0.9 G. That time is "
    "proportional to them is assumed"
)


@cache
def measured() -> dict[str, Figure]:
    """Reads what was measured on this project's machines."""

    def figure(name: str, section: str, row: str, column: int, unit: str, by: float = 1) -> Figure:
        value = recorded(section, row, column) * by
        return Figure(name, value, unit, "measured here", f"docs/numbers.md, {section}: {row}")

    ranks, one = "Ranks on one machine", "2 ranks, one AllReduce of all gradients"
    return {
        # Two threads on two cores.
        "decoding": figure(
            "training's images, one core", "Input pipelines", "training, ours", 1, "img/s", 0.5
        ),
        "uploading": figure(
            "a bundle to an object store", "Releases going out", "mixnet", 2, "B/s", 1e6
        ),
        "rank": figure("1 rank, 16 px, global batch 32", ranks, "1 rank", 1, "img/s"),
        "ranks": figure(one, ranks, one, 1, "img/s"),
        "apart": figure(
            "2 ranks, one AllReduce a tensor",
            ranks,
            "2 ranks, one AllReduce per tensor",
            1,
            "img/s",
        ),
    }


def gradients(variant: VariantName, num_classes: int = 1000) -> tuple[int, int]:
    """Returns how many tensors are averaged, and their bytes in float32."""
    shapes = [
        parameter.shape
        for parameter in parameters(variant, num_classes=num_classes)
        if not parameter.mindcv.endswith(_STATISTICS)
    ]
    return len(shapes), 4 * sum(map(math.prod, shapes))


def bundle_bytes(variant: VariantName, *, averages: bool) -> int:
    """Returns what a checkpoint has: weights with statistics, momenta, averages where kept."""
    weights = 4 * sum(math.prod(parameter.shape) for parameter in parameters(variant))
    return weights + gradients(variant)[1] + (weights if averages else 0)


def image_bytes() -> float:
    return TRAIN_BYTES.value / TRAIN_IMAGES.value


def cluster() -> Cluster:
    """Returns hosts of eight cards, each card with a port of its own."""
    inside, between = (Link(LATENCY.value, link.value) for link in (INSIDE, BETWEEN))
    return Cluster(CARDS, inside, between)


def supply() -> Supply:
    """Returns what a host decodes, and what the store gives."""
    core = measured()["decoding"].value * CORE_SHARE.value
    return Supply(HOST_CORES.value * core, image_bytes(), STORE.value)


def work(variant: VariantName = "s", images: int = 128) -> Work:
    """Returns a card's work, fitted to the published step of s on eight cards."""
    of_s = Work(0.0, 128, gradients("s")[1], JITTER.value)
    seconds = fitted(PUBLISHED_STEP.value, CARDS, of_s, cluster()).seconds
    share = MULTIPLY_ADDS[variant] / MULTIPLY_ADDS["s"] * images / 128
    return Work(seconds * share, images, gradients(variant)[1], JITTER.value, CARDS)


@dataclass(frozen=True)
class Loopback:
    """Holds the link between two ranks on one machine, and what it was solved from.

    Attributes:
        tensors, size: of the gradients that were averaged, and their bytes.
    """

    link: Link
    tensors: int
    size: int


def loopback() -> Loopback:
    """Solves latency and bandwidth of this machine's two ranks from the three figures of `ranks`.

    Over one rank that has both cores, two ranks that have one each take longer by an AllReduce:
    2 a + B/b in one message, 2 a K + B/b in K tensors.
    """
    found = measured()
    alone, joined, apart = (32 / found[name].value for name in ("rank", "ranks", "apart"))
    tensors, size = gradients("s", num_classes=10)
    latency = (apart - joined) / (2 * (tensors - 1))
    return Loopback(Link(latency, size / (joined - alone - 2 * latency)), tensors, size)
