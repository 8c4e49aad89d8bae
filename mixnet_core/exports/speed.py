"""How fast one runtime is beside another, both in one process and in turn.

A machine's speed drifts by more than what is looked for: only neighbours are divided.
"""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

from mixnet_core.exports.export_format import Pixels, Runtime

PAIRS = 7
# Of one measurement; the clock and the first call's allocations are below a thousandth of it.
_SECONDS = 0.6


class PairedSpeed(NamedTuple):
    """Holds speeds of the second runtime over the first.

    Attributes:
        ratio: the median of the pairs.
        range: the least and the largest pair.
        images_per_second: of the second, the median.
    """

    ratio: float
    range: tuple[float, float]
    images_per_second: float


def paired_speed(before: Runtime, now: Runtime, pixels: Pixels) -> PairedSpeed:
    """Measures both in turn, each pair in the other order than the last.

    Args:
        pixels: (N, S, S, C), decoded already.
    """
    for runtime in (before, now):
        runtime.logits(pixels)
    ratios, speeds = [], []
    for number in range(PAIRS):
        order = (before, now) if number % 2 else (now, before)
        found = {id(runtime): _speed(runtime, pixels) for runtime in order}
        ratios.append(found[id(now)] / found[id(before)])
        speeds.append(found[id(now)])
    return PairedSpeed(
        statistics.median(ratios), (min(ratios), max(ratios)), statistics.median(speeds)
    )


def _speed(runtime: Runtime, pixels: Pixels) -> float:
    began, images = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < _SECONDS:
        runtime.logits(pixels)
        images += len(pixels)
    return images / passed
