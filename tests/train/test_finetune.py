"""Fine-tuning for real: digits 5 to 9 from a release that was trained on 0 to 4."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mixnet_core.checkpoints.bundle import WEIGHTS
from mixnet_core.evaluate.job import measure
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.values import Score
from mixnet_core.stages.context import open_context
from mixnet_core.stages.fetch import fetch
from mixnet_core.stages.options import adjusted_recipe
from mixnet_core.stages.prepare import prepare
from mixnet_core.stages.train import train
from mixnet_core.train.metrics import read_metrics
from tests.tiny import mixnet

pytestmark = pytest.mark.long

Arrays = dict[str, NDArray[Any]]

# The release's network is not the recipe's: digits has three channels and MindCV's flavour.
NETWORK = {"network.in_channels": 1, "network.flavour": "timm"}
COMMON = {
    "input.image_size": 16,
    "training.log_every_steps": 20,
    "data.select_share": 0.2,
    # So few steps an epoch: a random start takes several to come down to guessing.
    "training.chance_epochs": None,
    "devices.threads_per_rank": 1,
}
BASE = COMMON | NETWORK | {"training.global_batch": 16}
TUNED = COMMON | {"training.global_batch": 8}
STATISTICS = ("moving_mean", "moving_variance")


def write_digits(root: Path, digits: range, *, train: int, val: int) -> Path:
    """An image folder; so many images a class."""
    from sklearn.datasets import load_digits

    bundle = load_digits()
    for digit in digits:
        images = bundle.images[bundle.target == digit]
        for split, chosen in (("train", images[:train]), ("val", images[train : train + val])):
            folder = root / split / str(digit)
            folder.mkdir(parents=True)
            for number, image in enumerate(chosen):
                pixels = (image * 255 / 16).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def arrays(file: Path) -> Arrays:
    return {name: p.asnumpy() for name, p in mindspore.load_checkpoint(str(file)).items()}


def backbone(weights: Arrays) -> Arrays:
    return {name: value for name, value in weights.items() if not name.startswith("classifier.")}


@dataclass(frozen=True)
class Tuned:
    """What a run on the new classes left, an epoch after the other."""

    recipe: Recipe
    epochs: list[Arrays]
    losses: list[float]
    score: Score


class Bench:
    """A workspace with the release `base`, and a small folder of other classes."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root / "workspace")
        old = write_digits(root / "old", range(5), train=120, val=20)
        self.data = write_digits(root / "new", range(5, 10), train=20, val=60)
        settings = [f"--set={key}={json.dumps(value)}" for key, value in BASE.items()]
        done = mixnet(
            "run", "digits", "--run=base", f"--data={old}", "--epochs=8", "--ranks=1", *settings,
            "--quiet", cwd=root,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    @cached_property
    def released(self) -> Arrays:
        (file,) = (self.workspace.releases / "base").glob("weights-*.ckpt")
        return arrays(file)

    def tuned(self, name: str, *, weights: str | None = "base", **settings: Any) -> Tuned:
        releases = str(self.workspace.releases)
        recipe = adjusted_recipe(
            "digits",
            data=str(self.data),
            weights=weights,
            registry=releases,
            epochs=5,
            ranks=1,
            settings=TUNED | {key.replace("__", "."): value for key, value in settings.items()},
        )
        context = open_context(recipe, self.workspace, run=name)
        run, recipe = context.run, context.recipe
        dataset = prepare(context)
        trained = train(context, dataset, fetch(context))
        files = [Path(checkpoint.path) / WEIGHTS for checkpoint in trained.checkpoints]
        scored = measure(
            recipe,
            dataset,
            files[-1:],
            split="val",
            stage="validate",
            attempts=run.attempts("validate"),
        )
        rows = read_metrics(run.metrics)
        losses = [row["loss"] for row in rows if row["event"] == "epoch"]
        return Tuned(recipe, [arrays(file) for file in files], losses, scored.scores[0])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("finetune"))


@pytest.fixture(scope="module")
def full(bench: Bench) -> Tuned:
    """All layers at one rate."""
    return bench.tuned("full")


@pytest.mark.slow
def test_a_frozen_backbone_stays_the_releases_bit_for_bit_and_the_classifier_learns(
    bench: Bench,
) -> None:
    frozen = bench.tuned("frozen", weights__freeze="backbone", schedule__lr=0.01)
    for weights in frozen.epochs:
        assert backbone(weights).keys() == backbone(bench.released).keys()
        for name, value in backbone(weights).items():
            assert np.array_equal(value, bench.released[name]), name
    first, last = frozen.epochs[0], frozen.epochs[-1]
    assert last["classifier.weight"].shape == (5, 1536)
    assert not np.array_equal(first["classifier.weight"], last["classifier.weight"])
    assert not np.array_equal(first["classifier.bias"], last["classifier.bias"])
    assert frozen.losses[-1] < 0.9 * frozen.losses[0]


@pytest.mark.slow
def test_with_nothing_frozen_every_parameter_and_statistic_moves(bench: Bench, full: Tuned) -> None:
    still = [
        name
        for name, value in backbone(full.epochs[-1]).items()
        if np.array_equal(value, bench.released[name])
    ]
    assert still == []


@pytest.mark.slow
def test_with_layer_decay_layers_move_less_the_further_they_are_from_the_classifier(
    bench: Bench, full: Tuned
) -> None:
    decayed = bench.tuned("decayed", optimizer__layer_decay=0.5)

    def moved(weights: Arrays, prefix: str) -> float:
        return max(
            float(np.abs(value - bench.released[name]).max())
            for name, value in weights.items()
            if name.startswith(prefix) and not name.endswith(STATISTICS)
        )

    places = ["stem_conv.", "layers.2.", "layers.6.", "layers.10.", "head_conv."]
    ours = [moved(decayed.epochs[-1], place) for place in places]
    theirs = [moved(full.epochs[-1], place) for place in places]
    shares = [a / b for a, b in zip(ours, theirs, strict=True)]
    assert shares == sorted(shares)
    assert shares[0] < 1e-3 < shares[-1] < 1


@pytest.mark.slow
def test_for_other_classes_a_release_beats_a_start_from_scratch_and_brings_its_network(
    bench: Bench, full: Tuned
) -> None:
    network = full.recipe.network
    assert (network.in_channels, network.flavour) == (1, "timm")
    assert full.recipe.weights.reset_classifier
    scratch = bench.tuned("scratch", weights=None, **NETWORK)
    assert full.score.count == scratch.score.count == 300
    assert full.score.top1 > scratch.score.top1 + 0.1
