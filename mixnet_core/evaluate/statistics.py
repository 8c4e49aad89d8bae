"""Trust in figures: intervals, paired tests, calibration.

Shares are in 0..1. Everything is two-sided at 95 % unless it says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Two-sided 95 % of the normal distribution.
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Pairing:
    """Counts how two files' predictions for the same images differ.

    Attributes:
        count: images.
        lost: images predicted rightly before and wrongly now.
        gained: images predicted wrongly before and rightly now.
    """

    count: int
    lost: int
    gained: int

    @property
    def difference(self) -> float:
        """Returns top-1 now less top-1 before, a share."""
        return (self.gained - self.lost) / self.count


@dataclass(frozen=True)
class ReliabilityBin:
    """Describes the images whose confidence is above `low` and at most `high`.

    Attributes:
        count: images.
        confidence, accuracy: their means; 0 where there are no images.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def wilson_interval(correct: int, count: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share that was counted on `count` images, at least one.

    Wilson's score interval (1927): unlike the normal one it stays inside 0..1 near the ends.
    """
    share, z2 = correct / count, _Z95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    spread = share * (1 - share) / count + z2 / (4 * count**2)
    half = _Z95 / (1 + z2 / count) * math.sqrt(spread)
    # By the formula exactly the ends, which rounding misses for every third count.
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == count else min(1.0, centre + half)
    return low, high


def pairing(before: NDArray[np.bool_], now: NDArray[np.bool_]) -> Pairing:
    """Counts what changed between two sets of predictions for the same images.

    Args:
        before, now: (N,), whether each image is right; the same images in the same order.

    Raises:
        ValueError: they are not as many.
    """
    if before.shape != now.shape:
        raise ValueError(f"{before.shape} answers before and {now.shape} now: expected as many")
    return Pairing(len(now), int((before & ~now).sum()), int((~before & now).sum()))


def mcnemar(pair: Pairing) -> float:
    """Returns the two-sided p of McNemar's exact test (1947): were lost and gained equally likely?

    Only images that changed between right and wrong say anything; under the hypothesis each of them
    is a fair coin.
    """
    return min(1.0, 2 * _tail(pair, min(pair.lost, pair.gained)))


def worse(pair: Pairing) -> float:
    """Returns the one-sided p: how often a network that is no worse loses as many or more."""
    return _tail(pair, pair.gained)


def _tail(pair: Pairing, successes: int) -> float:
    """Returns P(X <= successes) of a fair coin thrown once for each image lost or gained."""
    changed = pair.lost + pair.gained
    # Exact in integers: 2^-changed underflows from 1,075 changed images on.
    term = total = 1
    for k in range(successes):
        term = term * (changed - k) // (k + 1)
        total += term
    # As a quotient of integers, which Python rounds once, whatever their size.
    return total / (1 << changed)


def reliability(
    confidences: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 15
) -> list[ReliabilityBin]:
    """Counts how often predictions of some confidence are right, in bins of equal width.

    Args:
        confidences: (N,), the softmax probability of each image's predicted class, in 0..1.
        correct: (N,), whether each is right.
    """
    # The upper edge belongs to the bin (arXiv:1706.04599, section 2); 0 goes to the first.
    places = np.clip(np.ceil(confidences * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    sums = np.bincount(places, confidences, bins)
    rights = np.bincount(places, correct.astype(np.float64), bins)
    return [
        ReliabilityBin(
            low=k / bins,
            high=(k + 1) / bins,
            count=int(counts[k]),
            confidence=float(sums[k] / counts[k]) if counts[k] else 0.0,
            accuracy=float(rights[k] / counts[k]) if counts[k] else 0.0,
        )
        for k in range(bins)
    ]


def calibration_error(bins: list[ReliabilityBin]) -> float:
    """Returns the expected calibration error, a share (arXiv:1706.04599, equation 3)."""
    images = sum(item.count for item in bins)
    return sum(item.count * abs(item.accuracy - item.confidence) for item in bins) / images
