"""Means of checkpoints, beside a mean and statistics by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mindspore
import numpy as np
import pytest
from mindspore import Tensor
from numpy.typing import NDArray

from mixnet_core.data.batches import training_batches
from mixnet_core.data.index import read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import CheckpointMismatch
from mixnet_core.model.mixnet import build_model
from mixnet_core.processes.requests import AverageRequest
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.storage.files import sha256_of
from mixnet_core.train.average import average, mean_of
from tests.data.samples import small_recipe, write_image_folder
from tests.evaluate.test_scoring import write_weights

CLASSES = 7
BATCH, IMAGES = 8, 20


@dataclass(frozen=True)
class Place:
    recipe: Recipe
    request: AverageRequest
    sha256: str


def arrays(path: Path | str) -> dict[str, NDArray[np.float32]]:
    found = mindspore.load_checkpoint(str(path))
    return {name: parameter.asnumpy() for name, parameter in found.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    before = mindspore.get_context("mode")
    root = tmp_path_factory.mktemp("average")
    names = [f"c{label}" for label in range(CLASSES)]
    source = write_image_folder(root / "images", dict.fromkeys(names, 6), dict.fromkeys(names, 1))
    changes = {"training__global_batch": 2 * BATCH, "devices__ranks": 2, "augment__hflip": 0.5}
    recipe = small_recipe(source, CLASSES, **changes)
    dataset = prepare_dataset(recipe.data, root / "datasets")
    request = AverageRequest(
        recipe=recipe,
        dataset=dataset.root,
        files=tuple(write_weights(root / f"{name}.ckpt", name) for name in "abc"),
        folder=str(root / "means" / "abc"),
        images=IMAGES,
        classes=CLASSES,
        threads=2,
        operators="native",
        progress=str(root / "progress.jsonl"),
    )
    yield Place(recipe, request, average(request).sha256)
    mindspore.set_context(mode=before)


def test_weights_are_the_mean_of_the_files(place: Place) -> None:
    path = Path(place.request.folder) / "weights.ckpt"
    assert place.sha256 == sha256_of(path)
    found, parts = arrays(path), [arrays(file) for file in place.request.files]
    assert found.keys() == parts[0].keys()
    learned = [name for name in found if "moving_" not in name]
    assert len(learned) > 100
    for name in learned:
        expected = np.mean([part[name].astype(np.float64) for part in parts], axis=0)
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-7)


def test_statistics_are_the_means_over_batches_of_training_images(place: Place) -> None:
    found = arrays(Path(place.request.folder) / "weights.ckpt")
    recipe = place.recipe
    devices = recipe.devices.model_copy(update={"ranks": 1, "micro_batch": BATCH})
    alone = recipe.model_copy(update={"devices": devices})
    batches = training_batches(
        read_index(Path(place.request.dataset), "train"),
        alone,
        classes=CLASSES,
        epoch=recipe.training.epochs,
        rank=0,
        threads=1,
    )
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    net = build_model("s", CLASSES, stem_stride=1).set_train(False)
    mindspore.load_param_into_net(
        net, {name: mindspore.Parameter(Tensor(a), name=name) for name, a in found.items()}
    )
    # The stem's convolution comes before any statistics, so its output is known without them.
    means = []
    for batch in list(batches)[: -(-IMAGES // BATCH)]:
        means.append(net.stem_conv[0](Tensor(batch.images)).asnumpy().mean(axis=(0, 2, 3)))
    (name,) = [n for n in found if n.startswith("stem_conv") and n.endswith("moving_mean")]
    np.testing.assert_allclose(found[name], np.mean(means, axis=0), rtol=1e-3, atol=1e-4)


def test_progress_is_told_batch_by_batch(place: Place) -> None:
    rows = [json.loads(line) for line in Path(place.request.progress).read_text().splitlines()]
    assert rows == [{"done": 8, "total": 20}, {"done": 16, "total": 20}, {"done": 24, "total": 24}]


def test_files_of_different_networks_have_no_mean(place: Place, tmp_path: Path) -> None:
    other = write_weights(tmp_path / "other.ckpt", "a", classes=9)
    with pytest.raises(CheckpointMismatch, match="are of different networks"):
        mean_of([Path(place.request.files[0]), Path(other)])


def test_a_frozen_backbone_keeps_the_statistics_that_came_with_its_weights(
    place: Place, tmp_path: Path
) -> None:
    weights = place.recipe.weights.model_copy(update={"name": "base", "freeze": "backbone"})
    file = place.request.files[0]
    request = place.request.model_copy(
        update={
            "recipe": place.recipe.model_copy(update={"weights": weights}),
            "files": (file, file),
            "folder": str(tmp_path / "mean"),
            "progress": str(tmp_path / "progress.jsonl"),
        }
    )
    average(request)
    found, expected = arrays(tmp_path / "mean" / "weights.ckpt"), arrays(file)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
