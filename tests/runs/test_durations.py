"""Durations and moments as people read them."""

from __future__ import annotations

import pytest

from mixnet_core.runs.durations import duration, moment

NOON = 1_800_014_400.0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.7, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3659, "1 h"),
        (7500, "2 h 5 min"),
        (171_000, "1 d 23 h"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_moment_of_another_day_has_its_date() -> None:
    assert moment(NOON + 3600, now=NOON) == "13:00 UTC"
    assert moment(NOON + 12 * 3600, now=NOON) == "2027-01-16 00:00 UTC"
