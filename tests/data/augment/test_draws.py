"""Crops, flips and erasing: where the boxes lie and how often."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mixnet_core.data.augment.draws import Box, Draws, draw_crop, draw_erasing, draw_image
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.recipe.sections import Augment, RandomErasing

SCALE, RATIO = (0.08, 1.0), (0.75, 1.333)
DRAWS = 20000


def augment(**changes: Any) -> Augment:
    return load_recipe("mixnet_s", {f"augment.{k}": v for k, v in changes.items()}).augment


def erasing(probability: float = 1.0) -> RandomErasing:
    return RandomErasing(probability=probability, scale=(0.02, 0.33), ratio=(0.3, 3.3))


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (7, 500), (500, 7), (1, 1)])
def test_crops_lie_inside_images_of_any_shape(width: int, height: int) -> None:
    generator = np.random.default_rng(0)
    for _ in range(1000):
        box = draw_crop(SCALE, RATIO, generator, width, height)
        assert box.width > 0
        assert box.height > 0
        assert 0 <= box.left <= width - box.width
        assert 0 <= box.top <= height - box.height


def test_areas_are_uniform_and_ratios_uniform_in_their_logarithm() -> None:
    generator = np.random.default_rng(1)
    # Small enough that each box fits at the first try, so no try bends the distribution.
    boxes = [draw_crop((0.1, 0.5), (0.5, 2.0), generator, 1000, 1000) for _ in range(DRAWS)]
    areas = np.array([box.area / 1e6 for box in boxes])
    ratios = np.log([box.width / box.height for box in boxes])
    for values, low, high in ((areas, 0.1, 0.5), (ratios, -math.log(2), math.log(2))):
        assert low - 0.01 < values.min()
        assert values.max() < high + 0.01
        counts, _ = np.histogram(values, bins=5, range=(low, high))
        assert np.all(np.abs(counts / DRAWS - 0.2) < 0.015)
    assert abs(np.corrcoef(areas, ratios)[0, 1]) < 0.03


def test_crops_lie_everywhere_as_often() -> None:
    generator = np.random.default_rng(2)
    boxes = [draw_crop((0.25, 0.25), (1.0, 1.0), generator, 100, 80) for _ in range(DRAWS)]
    assert {(box.width, box.height) for box in boxes} == {(45, 45)}
    for places, free in (([b.left for b in boxes], 55), ([b.top for b in boxes], 35)):
        counts = np.bincount(places, minlength=free + 1)
        assert len(counts) == free + 1
        assert np.all(np.abs(counts * (free + 1) / DRAWS - 1) < 0.3)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(100, 10, Box(43, 0, 13, 10)), (10, 100, Box(0, 43, 10, 13)), (50, 50, Box(0, 0, 50, 50))],
    ids=["wide", "high", "neither"],
)
def test_where_no_try_fits_the_crop_is_the_middle(width: int, height: int, expected: Box) -> None:
    # More area than there is, so none of the ten fits.
    box = draw_crop((1.5, 2.0), RATIO, np.random.default_rng(0), width, height)
    assert box == expected


def test_scale_and_ratio_of_one_are_the_whole_image() -> None:
    generator = np.random.default_rng(0)
    assert draw_crop((1.0, 1.0), (1.0, 1.0), generator, 40, 30) == Box(0, 0, 40, 30)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_images_are_flipped_as_often_as_asked(probability: float) -> None:
    wanted, generator = augment(hflip=probability), np.random.default_rng(5)
    flips = [drawn(wanted, generator).flip for _ in range(4000)]
    assert abs(np.mean(flips) - probability) < 0.025


def test_erasing_is_as_often_as_asked() -> None:
    generator = np.random.default_rng(6)
    boxes = [draw_erasing(erasing(0.25), generator, 224) for _ in range(DRAWS)]
    assert abs(np.mean([box is not None for box in boxes]) - 0.25) < 0.01


def test_erased_boxes_have_uniform_areas_and_uniform_ratios_as_mindspores() -> None:
    generator = np.random.default_rng(7)
    boxes = [box for _ in range(DRAWS) if (box := draw_erasing(erasing(), generator, 1000))]
    assert len(boxes) == DRAWS
    # Long ones of a large area do not fit: look at those of which all fit.
    small = [box for box in boxes if box.area < 0.2e6]
    ratios = np.array([box.width / box.height for box in small])
    assert 0.29 < ratios.min() < 0.31
    assert 3.28 < ratios.max() < 3.32
    # Width / height below 1 has 0.7 of 3.0 of a uniform distribution; of the logarithm it is half.
    assert abs(np.mean(ratios < 1) - 0.7 / 3.0) < 0.02
    areas = np.array([box.area for box in small]) / 1e6
    counts, _ = np.histogram(areas, bins=3, range=(0.02, 0.2))
    assert np.all(np.abs(counts / len(small) - 1 / 3) < 0.02)
    assert max(box.area for box in boxes) < 0.331e6


@pytest.mark.parametrize("size", [8, 16, 224])
def test_erased_boxes_lie_inside_the_image(size: int) -> None:
    generator = np.random.default_rng(8)
    ends = set()
    for _ in range(3000):
        box = draw_erasing(erasing(), generator, size)
        if box is None:
            continue
        assert 0 <= box.left <= size - box.width
        assert 0 <= box.top <= size - box.height
        assert max(box.width, box.height) < size
        ends |= {box.left == 0, box.left + box.width == size}
    assert ends == {True, False}


def test_nothing_is_drawn_that_the_recipe_leaves_out() -> None:
    plain = augment(hflip=0.0, rand_augment=None, erasing=None)
    for _ in range(50):
        draws = drawn(plain, np.random.default_rng(9))
        assert (draws.flip, draws.operations, draws.erase) == (False, (), None)


@pytest.mark.parametrize(("flavour", "most"), [("mindcv", 0.006), ("timm", 0.31)])
def test_what_the_recipe_names_is_drawn_as_its_flavour_reads_it(flavour: str, most: float) -> None:
    published = augment()
    assert published.rand_augment is not None
    changed = published.rand_augment.model_copy(update={"flavour": flavour})
    wanted = published.model_copy(update={"rand_augment": changed})
    generator = np.random.default_rng(10)
    many = [drawn(wanted, generator) for _ in range(2000)]
    shears = [o.argument for d in many for o in d.operations if o.name == "ShearX"]
    largest = max(abs(s) for s in shears if s is not None)
    assert 0.7 * most < largest < most
    assert 0.2 < np.mean([d.erase is not None for d in many]) < 0.3


def drawn(wanted: Augment, generator: np.random.Generator) -> Draws:
    return draw_image(wanted, generator, width=64, height=48, size=32)
