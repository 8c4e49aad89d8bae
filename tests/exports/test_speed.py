"""One runtime's speed beside another's."""

from __future__ import annotations

import time

import numpy as np
import pytest

from mixnet_core.exports import speed
from mixnet_core.exports.speed import paired_speed


class Sleeper:
    def __init__(self, seconds: float) -> None:
        self.name = f"sleeps {seconds}"
        self.seconds = seconds
        self.calls = 0

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        self.calls += 1
        time.sleep(self.seconds)
        return np.zeros((len(pixels), 2), np.float32)


def test_the_ratio_is_of_neighbours_and_both_are_warmed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_SECONDS", 0.05)
    slow, fast = Sleeper(0.02), Sleeper(0.005)
    found = paired_speed(slow, fast, np.zeros((4, 2, 2, 3), np.uint8))
    low, high = found.range
    assert low <= found.ratio <= high
    assert 1.5 < found.ratio < 4.5
    assert 0 < found.images_per_second < 4 / 0.005
    assert slow.calls >= 1 + speed.PAIRS
