"""Beside scipy, where it has the same thing, and beside published figures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from mixnet_core.evaluate.statistics import (
    Pairing,
    ReliabilityBin,
    calibration_error,
    mcnemar,
    pairing,
    reliability,
    wilson_interval,
    worse,
)


@pytest.mark.parametrize(
    ("correct", "count"),
    [(0, 1), (1, 1), (0, 50), (50, 50), (81, 263), (15, 148), (29, 29), (38_000, 50_000)],
)
def test_the_interval_is_scipys(correct: int, count: int) -> None:
    expected = stats.binomtest(correct, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct, count) == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(
    correct: int, count: int, low: float, high: float
) -> None:
    assert wilson_interval(correct, count) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_never_leaves_zero_to_one_by_rounding() -> None:
    # The formula alone gives 1.0000000000000002 and -7e-18.
    assert wilson_interval(16, 16)[1] == 1
    assert wilson_interval(0, 27)[0] == 0


@pytest.mark.parametrize(
    ("lost", "gained"), [(0, 0), (1, 0), (0, 9), (6, 16), (16, 6), (500, 430), (3000, 3200)]
)
def test_mcnemars_p_is_the_exact_binomial_one(lost: int, gained: int) -> None:
    pair = Pairing(50_000, lost, gained)
    changed = lost + gained
    expected = stats.binomtest(lost, changed).pvalue if changed else 1.0
    assert mcnemar(pair) == pytest.approx(expected, rel=1e-9)
    expected = stats.binomtest(gained, changed, alternative="less").pvalue if changed else 1.0
    assert worse(pair) == pytest.approx(expected, rel=1e-9)


def test_twenty_five_changed_to_five_have_the_textbooks_p() -> None:
    # 2 * sum of C(30, k) for k to 5, over 2^30.
    assert mcnemar(Pairing(100, 25, 5)) == pytest.approx(2 * 174_437 / 2**30, rel=1e-12)


def test_what_was_lost_and_gained_is_counted_image_by_image() -> None:
    before = np.array([True, True, True, False, False])
    now = np.array([True, False, False, True, False])
    assert pairing(before, now) == Pairing(5, 2, 1)
    assert pairing(before, now).difference == pytest.approx(-0.2)
    with pytest.raises(ValueError, match="expected as many"):
        pairing(before, now[1:])


def test_images_right_both_times_or_wrong_both_times_are_neither_lost_nor_gained() -> None:
    before = np.array([True] * 7 + [False] * 8)
    now = np.array([True] * 4 + [False] * 3 + [True] * 2 + [False] * 6)
    assert pairing(before, now) == Pairing(count=15, lost=3, gained=2)


@pytest.mark.parametrize(
    "figures", [Pairing(5, 2, 1), ReliabilityBin(0.0, 0.5, 2, 0.4, 0.5)], ids=["pairing", "bin"]
)
def test_figures_cannot_be_changed_once_they_are_counted(figures: Pairing | ReliabilityBin) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        figures.count = 6  # type: ignore[misc]


def test_the_calibration_error_of_a_case_by_hand() -> None:
    # Two bins. Up to 0.5: 0.5 and 0.3, one right: |0.5 - 0.4|. Above: 0.9, 0.8, 1.0, one right:
    # |1/3 - 0.9|. (2 * 0.1 + 3 * 0.5667) / 5 = 0.38.
    confidences = np.array([0.5, 0.9, 0.3, 0.8, 1.0])
    correct = np.array([True, True, False, False, False])
    low, high = reliability(confidences, correct, 2)
    assert (low.count, low.accuracy, low.confidence) == (2, 0.5, pytest.approx(0.4))
    assert (high.count, high.accuracy, high.confidence) == (
        3,
        pytest.approx(1 / 3),
        pytest.approx(0.9),
    )
    assert calibration_error([low, high]) == pytest.approx(0.38)


def test_bins_without_images_count_nothing_and_zero_has_a_bin() -> None:
    bins = reliability(np.array([0.0, 1.0]), np.array([False, True]), 10)
    assert [item.count for item in bins] == [1, *[0] * 8, 1]
    assert calibration_error(bins) == 0
    assert {(item.confidence, item.accuracy) for item in bins[1:-1]} == {(0.0, 0.0)}


def test_bins_are_fifteen_of_equal_width_from_zero_to_one() -> None:
    bins = reliability(np.array([0.5]), np.array([True]))
    assert len(bins) == 15
    assert (bins[0].low, bins[0].high) == (0, pytest.approx(1 / 15))
    assert (bins[7].low, bins[7].high) == (pytest.approx(7 / 15), pytest.approx(8 / 15))
    assert bins[7].count == 1
    assert bins[-1].high == 1


def test_an_interval_ends_at_exactly_one_where_all_are_right_and_at_zero_where_none_is() -> None:
    assert {wilson_interval(n, n)[1] for n in range(1, 2000)} == {1.0}
    assert {wilson_interval(0, n)[0] for n in range(1, 2000)} == {0.0}
