"""A leap is told from noise: what fell apart trips it, nothing that is well does."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from mixnet_core.train.leaps import IN_A_ROW, WINDOW, Leaps

GUESSING = math.log(1000)


def leap_in(losses: Iterable[float], guessing: float = GUESSING) -> int | None:
    leaps = Leaps(guessing)
    for step, loss in enumerate(losses, 1):
        first = leaps.first_of_leap(step, loss)
        if first is not None:
            return first
    return None


def noisy(count: int, mean: float = 3.0, seed: int = 0) -> list[float]:
    return list(np.random.default_rng(seed).normal(mean, 0.3, count))


@pytest.mark.parametrize("after", [WINDOW, WINDOW + 1, 5000])
def test_a_training_that_falls_apart_leaps_at_its_first_bad_step(after: int) -> None:
    assert leap_in([*noisy(after), *noisy(IN_A_ROW, 9.0)]) == after + 1


def test_the_first_step_of_a_leap_after_a_spike_that_passed_is_the_leaps_own() -> None:
    losses = [*noisy(WINDOW), *[9.0] * (IN_A_ROW - 1), *noisy(20), *[9.0] * IN_A_ROW]
    assert leap_in(losses) == WINDOW + IN_A_ROW - 1 + 20 + 1


def test_fewer_losses_than_the_window_leap_never() -> None:
    assert leap_in([*noisy(WINDOW // 2), *[50.0] * (WINDOW // 2 - 1)]) is None


@pytest.mark.parametrize(
    "losses",
    [
        # Spikes of odd batches, each of fewer steps than a leap.
        [9.0 if step % 20 < IN_A_ROW - 1 else 3.0 for step in range(5000)],
        # Not better than guessing yet, and as noisy as small batches are.
        list(np.random.default_rng(1).normal(GUESSING, 0.8, 5000)),
        # Learnt by heart: next to nothing, and now and then an image that it never learns.
        list(np.where(np.random.default_rng(2).random(50000) < 0.05, 9.0, 0.001)),
        # Falls for long, and rises slowly, as where a rate is too high.
        [6.9 - 5 * math.sin(step / 5000 * math.pi) for step in range(5000)],
        # A jump that stays better than guessing, as where augmentation begins.
        [*noisy(2000, 2.0), *noisy(2000, 6.0)],
    ],
    ids=["spikes", "guessing", "learnt", "slow", "better than guessing"],
)
def test_a_training_that_is_well_or_only_noisy_does_not_leap(losses: list[float]) -> None:
    assert leap_in(losses) is None


@pytest.mark.parametrize("tails", [2.0, 3.0])
def test_a_hundred_thousand_heavy_tailed_losses_do_not_leap(tails: float) -> None:
    draws = np.random.default_rng(3).standard_t(tails, 100_000)
    assert leap_in(np.abs(1.0 + 0.5 * draws), guessing=0.0) is None


def test_a_leap_is_a_nat_at_least_however_quiet_it_was_before() -> None:
    before = [0.01] * WINDOW
    assert leap_in([*before, *[0.9] * 100], guessing=0.0) is None
    assert leap_in([*before, *[1.02] * 100], guessing=0.0) == WINDOW + 1
