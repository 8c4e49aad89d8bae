"""Batches of a prepared dataset, read through mindspore.dataset as training and evaluation do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mixnet_core.data.batches import (
    Batch,
    evaluation_batches,
    evaluation_pixels,
    rank_order,
    steps_per_epoch,
    training_batches,
)
from mixnet_core.data.index import Index, read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import DatasetError, RecipeError
from mixnet_core.recipe import Recipe, load_recipe

CROPPED = {"augment.crop_scale": [0.5, 1.0], "augment.hflip": 0.5}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = load_recipe("digits", {"data.train_limit": 80}).data
    return Path(prepare_dataset(data, tmp_path_factory.mktemp("datasets")).root)


@pytest.fixture(scope="module")
def index(root: Path) -> Index:
    return read_index(root, "train")


def recipe_with(**settings: object) -> Recipe:
    changes = {key.replace("__", "."): value for key, value in settings.items()}
    return load_recipe(
        "digits", {"training.global_batch": 16, "input.image_size": 8, **CROPPED, **changes}
    )


def epoch_of(index: Index, recipe: Recipe, epoch: int, rank: int, threads: int = 1) -> list[Batch]:
    return list(training_batches(index, recipe, epoch=epoch, rank=rank, threads=threads))


def positions(batches: list[Batch]) -> list[int]:
    return [int(i) for batch in batches for i in batch.positions]


def test_the_ranks_of_an_epoch_share_full_batches_without_overlap(index: Index) -> None:
    recipe = recipe_with(devices__ranks=2)
    shares = [epoch_of(index, recipe, 0, rank) for rank in (0, 1)]
    steps = steps_per_epoch(len(index.paths), recipe)
    assert [len(share) for share in shares] == [steps, steps]
    for batch in shares[0] + shares[1]:
        assert batch.images.shape == (8, 3, 8, 8)
        assert (batch.images.dtype, batch.labels.dtype) == (np.float32, np.int32)
        np.testing.assert_array_equal(batch.labels, index.labels[batch.positions])
    seen = positions(shares[0]) + positions(shares[1])
    assert len(seen) == len(set(seen)) == steps * 16


def test_a_global_batch_holds_the_same_images_however_many_ranks_divide_it(index: Index) -> None:
    one = rank_order(len(index.paths), recipe_with(devices__ranks=1), 3, 0)
    two = [rank_order(len(index.paths), recipe_with(devices__ranks=2), 3, r) for r in (0, 1)]
    for step in range(len(one) // 16):
        whole = set(one[16 * step : 16 * (step + 1)].tolist())
        halves = [set(order[8 * step : 8 * (step + 1)].tolist()) for order in two]
        assert halves[0] | halves[1] == whole


def test_an_epoch_begun_again_is_the_same_bit_for_bit(index: Index) -> None:
    recipe = recipe_with(devices__ranks=2)
    first, again = (epoch_of(index, recipe, 1, 1, threads=2) for _ in range(2))
    for left, right in zip(first, again, strict=True):
        np.testing.assert_array_equal(left.images, right.images)


def test_another_epoch_and_another_seed_shuffle_and_augment_differently(index: Index) -> None:
    recipe = recipe_with(devices__ranks=1)
    base = epoch_of(index, recipe, 0, 0)
    for other in (
        epoch_of(index, recipe, 1, 0),
        epoch_of(index, recipe_with(devices__ranks=1, training__seed=7), 0, 0),
    ):
        assert positions(other) != positions(base)


def test_evaluation_sees_every_image_once_and_in_order(root: Path) -> None:
    val = read_index(root, "val")
    recipe = recipe_with()
    batches = list(evaluation_batches(val, recipe.input, 3, batch=100, threads=2))
    assert positions(batches) == list(range(len(val.paths)))
    assert len(batches[-1].labels) == len(val.paths) % 100


def test_evaluation_decodes_resizes_crops_and_normalises(tmp_path: Path) -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 10:30] = (200, 100, 50)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    index = Index(tmp_path, ("wide.png",), np.zeros(1, np.int32))
    settings = recipe_with(input__mean=[100.0, 50.0, 25.0], input__std=[50.0, 25.0, 5.0]).input
    (batch,) = evaluation_batches(index, settings, 3, batch=4, threads=1)
    # The middle square is what was coloured.
    for channel, value in enumerate((2.0, 2.0, 5.0)):
        np.testing.assert_allclose(batch.images[0, channel, :, 1:-1], value, atol=0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_what_evaluation_normalises(tmp_path: Path, channels: int) -> None:
    random = np.random.default_rng(5)
    paths = tuple(f"{number}.jpg" for number in range(5))
    for path, (high, wide) in zip(paths, random.integers(20, 60, (5, 2)), strict=True):
        noise = random.integers(0, 256, (high, wide, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / path)
    index = Index(tmp_path, paths, np.arange(5, dtype=np.int32))
    settings = recipe_with(
        input__image_size=14,
        input__crop_pct=0.875,
        input__interpolation="bicubic",
        input__mean=[120.0, 110.0, 100.0],
        input__std=[58.0, 57.0, 56.0],
    ).input
    floats = list(evaluation_batches(index, settings, channels, batch=2, threads=2))
    pixels = list(evaluation_pixels(index, settings, channels, batch=2, threads=2))
    mean, std = settings.mean[:channels], settings.std[:channels]
    for left, right in zip(floats, pixels, strict=True):
        assert right.images.dtype == np.uint8
        assert right.images.shape == (len(left.labels), 14, 14, channels)
        again = np.round(left.images.transpose(0, 2, 3, 1) * np.float32(std) + np.float32(mean))
        np.testing.assert_array_equal(again, right.images)
        np.testing.assert_array_equal(left.labels, right.labels)
        np.testing.assert_array_equal(left.positions, right.positions)
    assert np.concatenate([batch.images for batch in pixels]).std() > 20


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "RGB"])
def test_images_of_any_mode_become_the_channels_asked_for(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (9, 9), (102, 102, 102)).convert(mode).save(tmp_path / "a.png")
    index = Index(tmp_path, ("a.png",), np.zeros(1, np.int32))
    settings = recipe_with(input__mean=[2.0] * 3, input__std=[50.0] * 3).input
    for channels in (1, 3):
        (batch,) = evaluation_batches(index, settings, channels, batch=1, threads=1)
        assert batch.images.shape == (1, channels, 8, 8)
        np.testing.assert_allclose(batch.images, 2.0, atol=0.05)


def test_a_file_that_became_unreadable_is_a_dataset_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    index = Index(tmp_path, ("a.png",), np.zeros(1, np.int32))
    with pytest.raises(DatasetError, match="cannot read images of") as error:
        list(evaluation_batches(index, recipe_with().input, 3, batch=1, threads=1))
    assert "\n" not in str(error.value)


def test_a_batch_larger_than_the_dataset_is_refused(index: Index) -> None:
    with pytest.raises(RecipeError, match=r"global_batch 1024 exceeds the \d+ training images"):
        steps_per_epoch(len(index.paths), recipe_with(training__global_batch=1024))
