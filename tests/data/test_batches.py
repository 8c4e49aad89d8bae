"""Batches of a prepared dataset, as training and evaluation read them."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mixnet_core.data.batches import (
    Batch,
    TrainingBatch,
    evaluation_batches,
    evaluation_pixels,
    rank_order,
    step_positions,
    steps_per_epoch,
    training_batches,
)
from mixnet_core.data.index import Index, read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import DatasetError, RecipeError
from mixnet_core.recipe.recipe import Recipe, load_recipe
from tests.data.augment.photographs import CLASSES, write_photographs

CROPPED = {"augment.crop_scale": [0.5, 1.0], "augment.hflip": 0.5}
# All that a recipe can name, two micro-batches of four a step and rank.
EVERYTHING: dict[str, Any] = {
    "augment__crop_scale": [0.2, 1.0],
    "augment__crop_ratio": [0.75, 1.333],
    "augment__rand_augment": {
        "operations": 2,
        "magnitude": 9,
        "magnitude_std": 0.5,
        "increasing": True,
    },
    "augment__erasing": {"probability": 0.5, "scale": [0.02, 0.33], "ratio": [0.3, 3.3]},
    "augment__mix": {
        "mixup_alpha": 0.2,
        "cutmix_alpha": 1.0,
        "probability": 0.8,
        "switch_probability": 0.5,
    },
    "input__image_size": 24,
    "input__interpolation": "bicubic",
    "devices__ranks": 2,
    "devices__micro_batch": 4,
}
UNMIXED = EVERYTHING | {"augment__mix": None}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = load_recipe("digits", {"data.train_limit": 80}).data
    return Path(prepare_dataset(data, tmp_path_factory.mktemp("datasets")).root)


@pytest.fixture(scope="module")
def index(root: Path) -> Index:
    return read_index(root, "train")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return write_photographs(tmp_path_factory.mktemp("photographs"), 70)


def recipe_with(**settings: object) -> Recipe:
    changes = {key.replace("__", "."): value for key, value in settings.items()}
    return load_recipe(
        "digits", {"training.global_batch": 16, "input.image_size": 8, **CROPPED, **changes}
    )


def epoch_of(
    index: Index, recipe: Recipe, epoch: int, rank: int, threads: int = 1, first_step: int = 0
) -> list[TrainingBatch]:
    return list(
        training_batches(
            index,
            recipe,
            classes=10,
            epoch=epoch,
            rank=rank,
            threads=threads,
            first_step=first_step,
        )
    )


def positions(batches: list[Batch] | list[TrainingBatch]) -> list[int]:
    return [int(i) for batch in batches for i in batch.positions]


def by_position(batches: list[TrainingBatch]) -> dict[int, bytes]:
    return {
        int(position): image.tobytes()
        for batch in batches
        for position, image in zip(batch.positions, batch.images, strict=True)
    }


def expect_equal(left: list[TrainingBatch], right: list[TrainingBatch]) -> None:
    """Bit for bit."""
    assert len(left) == len(right) > 0
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.targets, other.targets)
        np.testing.assert_array_equal(one.positions, other.positions)


def test_the_ranks_of_an_epoch_share_full_batches_without_overlap(index: Index) -> None:
    recipe = recipe_with(devices__ranks=2)
    shares = [epoch_of(index, recipe, 0, rank) for rank in (0, 1)]
    steps = steps_per_epoch(len(index.paths), recipe)
    assert [len(share) for share in shares] == [steps, steps]
    for batch in shares[0] + shares[1]:
        assert batch.images.shape == (8, 3, 8, 8)
        assert batch.targets.shape == (8, 10)
        dtypes = (batch.images.dtype, batch.targets.dtype, batch.positions.dtype)
        assert dtypes == (np.float32, np.float32, np.int32)
        np.testing.assert_array_equal(batch.targets.argmax(1), index.labels[batch.positions])
    seen = positions(shares[0]) + positions(shares[1])
    assert len(seen) == len(set(seen)) == steps * 16


def test_the_batches_are_the_order_in_micro_batches(photographs: Index) -> None:
    recipe = recipe_with(**EVERYTHING)
    assert recipe.accumulation == 2
    for rank in (0, 1):
        batches = epoch_of(photographs, recipe, 2, rank, threads=2)
        assert [len(batch.images) for batch in batches] == [4] * 8
        assert batches[0].images.shape == (4, 3, 24, 24)
        assert positions(batches) == rank_order(70, recipe, 2, rank).tolist()


def test_a_global_batch_holds_the_same_images_however_many_ranks_divide_it(index: Index) -> None:
    one = rank_order(len(index.paths), recipe_with(devices__ranks=1), 3, 0)
    two = [rank_order(len(index.paths), recipe_with(devices__ranks=2), 3, r) for r in (0, 1)]
    for step in range(len(one) // 16):
        whole = set(one[16 * step : 16 * (step + 1)].tolist())
        halves = [set(order[8 * step : 8 * (step + 1)].tolist()) for order in two]
        assert halves[0] | halves[1] == whole
        number = 3 * (len(one) // 16) + step + 1
        named = step_positions(len(index.paths), recipe_with(devices__ranks=2), number)
        assert set(named.tolist()) == whole


def test_virtual_ranks_see_the_same_batches_on_whichever_rank_they_are(photographs: Index) -> None:
    settings = EVERYTHING | {"training__virtual_ranks": 4, "devices__micro_batch": None}

    def of_virtual_rank(number: int, ranks: int) -> list[TrainingBatch]:
        recipe = recipe_with(**settings | {"devices__ranks": ranks})
        own = 4 // ranks
        return epoch_of(photographs, recipe, 2, number // own)[number % own :: own]

    for number in range(4):
        one, two, four = (of_virtual_rank(number, ranks) for ranks in (1, 2, 4))
        assert [len(batch.images) for batch in four] == [4] * 4
        expect_equal(one, four)
        expect_equal(two, four)
        # They are those of as many ranks that are not virtual.
        plain = settings | {"training__virtual_ranks": None, "devices__ranks": 4}
        expect_equal(four, epoch_of(photographs, recipe_with(**plain), 2, number))
    firsts = [of_virtual_rank(number, 1)[0].targets.max() for number in range(4)]
    assert len(set(firsts)) > 1


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same_bit_for_bit(photographs: Index, threads: int) -> None:
    recipe = recipe_with(**EVERYTHING)
    one = epoch_of(photographs, recipe, 1, 1)
    expect_equal(one, epoch_of(photographs, recipe, 1, 1, threads=threads))
    assert np.std([batch.images.std() for batch in one]) > 0


@pytest.mark.parametrize("first_step", [1, 2, 3])
def test_a_start_within_the_epoch_gives_exactly_what_was_left_of_it(
    photographs: Index, first_step: int
) -> None:
    recipe = recipe_with(**EVERYTHING)
    whole = epoch_of(photographs, recipe, 1, 0, threads=2)
    rest = epoch_of(photographs, recipe, 1, 0, threads=2, first_step=first_step)
    expect_equal(whole[2 * first_step :], rest)


def test_a_start_at_the_end_of_the_epoch_gives_nothing(photographs: Index) -> None:
    assert epoch_of(photographs, recipe_with(**EVERYTHING), 1, 0, first_step=4) == []


def test_another_epoch_rank_or_seed_shuffles_and_augments_differently(photographs: Index) -> None:
    recipe = recipe_with(**UNMIXED)
    base = epoch_of(photographs, recipe, 0, 0)
    reseeded = recipe_with(**UNMIXED, training__seed=7)
    for other in (epoch_of(photographs, recipe, 1, 0), epoch_of(photographs, reseeded, 0, 0)):
        assert positions(other) != positions(base)
        left, right = by_position(base), by_position(other)
        both = left.keys() & right.keys()
        assert len(both) > 8
        assert all(left[position] != right[position] for position in both)
    assert not set(positions(base)) & set(positions(epoch_of(photographs, recipe, 0, 1)))


def test_an_image_is_augmented_alike_on_whichever_rank_it_is(photographs: Index) -> None:
    alone = epoch_of(photographs, recipe_with(**UNMIXED | {"devices__ranks": 1}), 0, 0)
    shared = [epoch_of(photographs, recipe_with(**UNMIXED), 0, rank) for rank in (0, 1)]
    assert by_position(shared[0]) | by_position(shared[1]) == by_position(alone)
    assert len(by_position(alone)) == 64


def test_each_rank_step_and_part_mixes_by_a_draw_of_its_own(photographs: Index) -> None:
    mix = {"mixup_alpha": 1.0, "cutmix_alpha": 0.0, "probability": 1.0, "switch_probability": 0.5}
    recipe = recipe_with(**EVERYTHING | {"augment__mix": mix, "training__label_smoothing": 0.0})
    shares = set()
    for rank in (0, 1):
        for batch in epoch_of(photographs, recipe, 0, rank):
            labels = photographs.labels[batch.positions]
            differ = [i for i in (0, 1) if labels[i] != labels[3 - i]]
            shares |= {float(batch.targets[i, labels[i]]) for i in differ[:1]}
    assert len(shares) >= 12


def test_cutmix_mixes_targets_by_the_area_it_really_replaced(photographs: Index) -> None:
    mix = {"mixup_alpha": 0.0, "cutmix_alpha": 1.0, "probability": 1.0, "switch_probability": 0.5}
    settings = UNMIXED | {"augment__rand_augment": None, "augment__erasing": None}
    plain = epoch_of(photographs, recipe_with(**settings), 0, 0)
    mixed = epoch_of(photographs, recipe_with(**settings | {"augment__mix": mix}), 0, 0)
    cut = 0
    for before, after in zip(plain, mixed, strict=True):
        np.testing.assert_array_equal(before.positions, after.positions)
        labels = photographs.labels[before.positions]
        np.testing.assert_allclose(after.targets.sum(1), 1.0, atol=1e-6)
        partner = before.images[::-1]
        changed = (after.images != before.images).any(1)
        inside = changed[:, None] & np.ones((1, 3, 1, 1), bool)
        np.testing.assert_array_equal(after.images[inside], partner[inside])
        rows, columns = changed.any((0, 2)), changed.any((0, 1))
        replaced = rows.sum() * columns.sum() / 24**2
        cut += 0.05 < replaced < 0.95
        expected = (1 - replaced) * np.eye(10)[labels] + replaced * np.eye(10)[labels[::-1]]
        np.testing.assert_allclose(after.targets, 0.9 * expected + 0.01, atol=1e-6)
    assert cut >= 3


def test_without_augmentation_training_sees_what_evaluation_sees(index: Index) -> None:
    recipe = recipe_with(
        input__image_size=16,
        augment__crop_scale=[1.0, 1.0],
        augment__hflip=0.0,
        devices__ranks=1,
        training__label_smoothing=0.0,
    )
    (plain,) = evaluation_batches(index, index.positions, recipe, batch=100, threads=1)
    for batch in epoch_of(index, recipe, 0, 0):
        # A grey level is 1/96.
        np.testing.assert_allclose(batch.images, plain.images[batch.positions], atol=1.01 / 96)
        np.testing.assert_array_equal(batch.targets, np.eye(10)[plain.labels[batch.positions]])


def test_a_grey_network_gets_one_channel(photographs: Index) -> None:
    settings = EVERYTHING | {"network__in_channels": 1}
    batches = epoch_of(photographs, recipe_with(**settings), 0, 0)
    assert batches[0].images.shape == (4, 1, 24, 24)
    assert batches[0].images.std() > 0.1


def training_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("images")]


def test_batches_are_made_ahead_but_not_without_end(photographs: Index) -> None:
    recipe = recipe_with(**UNMIXED)
    reads: list[int] = []

    class Counted(Index):
        def __getattribute__(self, name: str) -> Any:
            if name == "paths":
                reads.append(1)
            return super().__getattribute__(name)

    counted = Counted(photographs.root, photographs.paths, photographs.labels)
    batches = training_batches(counted, recipe, classes=10, epoch=0, rank=0, threads=2)
    next(batches)
    deadline = time.monotonic() + 120
    # One in use and two ahead, of four images each; one look is for the number of images.
    while len(reads) < 13 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert len(reads) == 13
    batches.close()


def test_closing_early_leaves_no_thread_at_work(photographs: Index) -> None:
    batches = training_batches(
        photographs, recipe_with(**EVERYTHING), classes=CLASSES, epoch=0, rank=0, threads=3
    )
    assert training_threads() == []
    next(batches)
    assert 1 <= len(training_threads()) <= 3
    batches.close()
    assert training_threads() == []


def test_a_finished_epoch_leaves_no_thread(photographs: Index) -> None:
    epoch_of(photographs, recipe_with(**EVERYTHING), 0, 0, threads=2)
    assert training_threads() == []


@pytest.mark.parametrize("damage", ["truncated", "replaced", "enormous", "missing"])
def test_an_image_that_cannot_be_read_is_a_dataset_error(tmp_path: Path, damage: str) -> None:
    index = write_photographs(tmp_path, 16)
    path = tmp_path / index.paths[11]
    content = path.read_bytes()
    path.unlink()
    contents = {
        "truncated": content[: len(content) // 2],
        "replaced": b"no image\n",
        "enormous": b"P6 20000 20000 255\n",
    }
    if damage in contents:
        path.write_bytes(contents[damage])
    recipe = recipe_with(**EVERYTHING | {"devices__ranks": 1})
    with pytest.raises(DatasetError, match=r"011\.jpg.*: run `mixnet prepare` again") as error:
        epoch_of(index, recipe, 0, 0, threads=2)
    assert "\n" not in str(error.value)
    assert training_threads() == []


def test_evaluation_sees_every_image_once_and_in_order(root: Path) -> None:
    val = read_index(root, "val")
    recipe = recipe_with()
    batches = list(evaluation_batches(val, val.positions, recipe, batch=100, threads=2))
    assert positions(batches) == list(range(len(val.paths)))
    assert len(batches[-1].labels) == len(val.paths) % 100


def test_evaluation_decodes_resizes_crops_and_normalises(tmp_path: Path) -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 10:30] = (200, 100, 50)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    index = Index(tmp_path, ("wide.png",), np.zeros(1, np.int32))
    recipe = recipe_with(input__mean=[100.0, 50.0, 25.0], input__std=[50.0, 25.0, 5.0])
    (batch,) = evaluation_batches(index, index.positions, recipe, batch=4, threads=1)
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
    recipe = recipe_with(
        network__in_channels=channels,
        input__image_size=14,
        input__crop_pct=0.875,
        input__interpolation="bicubic",
        input__mean=[120.0, 110.0, 100.0],
        input__std=[58.0, 57.0, 56.0],
    )
    floats = list(evaluation_batches(index, index.positions, recipe, batch=2, threads=2))
    pixels = list(evaluation_pixels(index, index.positions, recipe, batch=2, threads=2))
    mean, std = recipe.input.mean[:channels], recipe.input.std[:channels]
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
    for channels in (1, 3):
        recipe = recipe_with(
            network__in_channels=channels, input__mean=[2.0] * 3, input__std=[50.0] * 3
        )
        (batch,) = evaluation_batches(index, index.positions, recipe, batch=1, threads=1)
        assert batch.images.shape == (1, channels, 8, 8)
        np.testing.assert_allclose(batch.images, 2.0, atol=0.05)


def test_a_file_that_became_unreadable_is_a_dataset_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    index = Index(tmp_path, ("a.png",), np.zeros(1, np.int32))
    with pytest.raises(
        DatasetError, match=r"cannot read a\.png of .* run `mixnet prepare` again"
    ) as error:
        list(evaluation_batches(index, index.positions, recipe_with(), batch=1, threads=1))
    assert "\n" not in str(error.value)


def test_a_batch_larger_than_the_dataset_is_refused(index: Index) -> None:
    with pytest.raises(RecipeError, match=r"global_batch 1024 exceeds the \d+ training images"):
        steps_per_epoch(len(index.paths), recipe_with(training__global_batch=1024))
