"""What RandAugment draws, against numbers worked out by hand from timm's and MindCV's formulas."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from mixnet_core.data.augment.rand_augment import Flavour, draw_operations, operation_names
from mixnet_core.recipe.sections import RandAugment

TIMM = {
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "Posterize",
    "Solarize",
    "SolarizeAdd",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
}
MAGNITUDES = (0.0, 3.0, 9.0, 10.0)
ROTATE = (0.0, 9.0, 27.0, 30.0)
TRANSLATE = (0.0, 0.135, 0.405, 0.45)
ENHANCE = (0.1, 0.64, 1.72, 1.9)
# Away from 1 in either direction.
ENHANCE_INCREASING = (0.0, 0.27, 0.81, 0.9)
SHEAR: dict[Flavour, tuple[float, ...]] = {
    "timm": (0.0, 0.09, 0.27, 0.3),
    # Tangents of 0, 0.09, 0.27 and 0.3 degrees.
    "mindcv": (0.0, 0.00157080, 0.00471242, 0.00523604),
}
POSTERIZE: dict[tuple[Flavour, bool], tuple[int, ...]] = {
    ("timm", False): (0, 1, 3, 4),
    ("timm", True): (4, 3, 1, 0),
    ("mindcv", False): (8, 7, 5, 4),
    ("mindcv", True): (4, 5, 7, 8),
}
SOLARIZE: dict[tuple[Flavour, bool], tuple[int, ...]] = {
    ("timm", False): (0, 76, 230, 256),
    ("timm", True): (256, 180, 26, 0),
    ("mindcv", False): (0, 76, 229, 255),
    ("mindcv", True): (255, 179, 26, 0),
}
SOLARIZE_ADD = (0, 33, 99, 110)
BOTH = pytest.mark.parametrize("flavour", ["timm", "mindcv"])
INCREASING = pytest.mark.parametrize("increasing", [False, True])


def settings(
    magnitude: float, std: float = 0.0, increasing: bool = False, flavour: Flavour = "timm"
) -> RandAugment:
    return RandAugment(
        operations=2,
        magnitude=magnitude,
        magnitude_std=std,
        increasing=increasing,
        flavour=flavour,
    )


def arguments(wanted: RandAugment, images: int = 1000) -> dict[str, list[float]]:
    """All that was drawn, by name."""
    generator = np.random.default_rng(3)
    found: dict[str, list[float]] = {}
    for _ in range(images):
        for operation in draw_operations(wanted, generator):
            argument = math.nan if operation.argument is None else operation.argument
            found.setdefault(operation.name, []).append(argument)
    return found


def close(found: list[float], *expected: float) -> bool:
    """Every one of the expected values was drawn, and nothing else."""
    nearest = [min(expected, key=lambda value: abs(value - one)) for one in found]
    return set(nearest) == set(expected) and np.allclose(found, nearest, rtol=1e-5, atol=1e-9)


@BOTH
@INCREASING
@pytest.mark.parametrize("place", range(len(MAGNITUDES)))
def test_arguments_follow_from_magnitudes(flavour: Flavour, increasing: bool, place: int) -> None:
    found = arguments(settings(MAGNITUDES[place], 0.0, increasing, flavour))
    for name in ("AutoContrast", "Equalize", "Invert"):
        assert all(math.isnan(argument) for argument in found.pop(name))
    for name, values in (
        ("Rotate", ROTATE),
        ("ShearX", SHEAR[flavour]),
        ("ShearY", SHEAR[flavour]),
        ("TranslateX", TRANSLATE),
        ("TranslateY", TRANSLATE),
    ):
        assert close(found.pop(name), values[place], -values[place]), name
    for name in ("Color", "Contrast", "Brightness", "Sharpness"):
        if increasing:
            away = ENHANCE_INCREASING[place]
            assert close(found.pop(name), 1 + away, 1 - away), name
        else:
            assert close(found.pop(name), ENHANCE[place]), name
    assert close(found.pop("Posterize"), POSTERIZE[flavour, increasing][place])
    assert close(found.pop("Solarize"), SOLARIZE[flavour, increasing][place])
    if flavour == "timm":
        assert close(found.pop("SolarizeAdd"), SOLARIZE_ADD[place])
    assert found == {}


@INCREASING
def test_directions_are_as_often_one_as_the_other(increasing: bool) -> None:
    found = arguments(settings(9.0, increasing=increasing), images=12000)
    middles = {"Rotate": 0, "ShearX": 0, "ShearY": 0, "TranslateX": 0, "TranslateY": 0}
    if increasing:
        middles |= {"Color": 1, "Contrast": 1, "Brightness": 1, "Sharpness": 1}
    for name, middle in middles.items():
        assert abs(np.mean(np.array(found[name]) > middle) - 0.5) < 0.06, name


def test_magnitudes_are_normal_around_the_recipes_and_end_at_ten() -> None:
    found = np.array(arguments(settings(9.0, 0.5), images=60000)["Brightness"])
    magnitudes = (found - 0.1) / 1.8 * 10
    assert magnitudes.max() == pytest.approx(10)
    # Shares of a normal distribution beyond 2, 1, 0 and -1 standard deviations.
    for limit, share in ((10 - 1e-9, 0.0228), (9.5, 0.1587), (9.0, 0.5), (8.5, 0.8413)):
        assert abs(np.mean(magnitudes > limit) - share) < 0.02
    assert len(np.unique(np.round(magnitudes, 6))) > 3000


def test_magnitudes_end_at_zero() -> None:
    found = np.array(arguments(settings(0.5, 1.0), images=20000)["Color"])
    assert found.min() == pytest.approx(0.1)
    assert abs(np.mean(found < 0.1 + 1e-9) - 0.3085) < 0.04


def test_beyond_a_hundred_the_deviation_means_uniform_magnitudes() -> None:
    found = np.array(arguments(settings(8.0, 101.0), images=30000)["Contrast"])
    magnitudes = (found - 0.1) / 1.8 * 10
    counts, _ = np.histogram(magnitudes, bins=4, range=(0.0, 8.0))
    assert counts.sum() == len(found)
    assert np.all(np.abs(counts / len(found) - 0.25) < 0.04)


def test_timm_has_fifteen_operations_of_which_mindcv_leaves_out_one() -> None:
    assert set(operation_names("timm")) == TIMM
    assert set(operation_names("mindcv")) == TIMM - {"SolarizeAdd"}


@BOTH
@INCREASING
def test_every_operation_is_as_likely_and_half_of_them_are_left_out(
    flavour: Flavour, increasing: bool
) -> None:
    images, generator = 20000, np.random.default_rng(4)
    wanted = settings(9.0, 0.5, increasing, flavour)
    drawn = [draw_operations(wanted, generator) for _ in range(images)]
    lengths = Counter(len(operations) for operations in drawn)
    for length, share in ((0, 0.25), (1, 0.5), (2, 0.25)):
        assert abs(lengths[length] / images - share) < 0.015
    names = Counter(operation.name for operations in drawn for operation in operations)
    assert set(names) == set(operation_names(flavour))
    for name in names:
        assert abs(names[name] / images - 1 / len(names)) < 0.008
    # With replacement: one of so many pairs is twice the same.
    twice = [pair for pair in drawn if len(pair) == 2 and pair[0].name == pair[1].name]
    assert abs(len(twice) / lengths[2] - 1 / len(names)) < 0.015
