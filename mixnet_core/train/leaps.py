"""A loss that leaps, told apart from one that is noisy.

It leaps where IN_A_ROW losses in a row are each above all three of

    the median of the WINDOW losses before + DEVIATIONS standard deviations
    that median + LEAST nats
    guessing, log(classes)

The deviation is 1.4826 times the median distance from the median, which is a normal distribution's
and which a few odd losses do not move. Nothing leaps before there are WINDOW losses, after the
warm-up. It is to be sure of: a batch of odd images, a spike that passes, and an easy dataset whose
losses are near 0 but for a few do not make it leap; training that fell apart does.
"""

from __future__ import annotations

from collections import deque

import numpy as np

WINDOW = 256
IN_A_ROW = 8
DEVIATIONS = 10.0
LEAST = 1.0

_NORMAL = 1.4826


class Leaps:
    """Watches one rank's losses, a call a step.

    Args:
        guessing: the mean loss where every class is given the same probability, in nats.
    """

    def __init__(self, guessing: float) -> None:
        self._guessing = guessing
        self._before: deque[float] = deque(maxlen=WINDOW)
        # Losses above the threshold, in a row, with their steps; not yet among those before.
        self._high: list[tuple[int, float]] = []

    def first_of_leap(self, step: int, loss: float) -> int | None:
        """Takes the next loss, a finite one.

        Args:
            step: whose loss it is.

        Returns:
            The step at which the loss began to leap; None where it does not.
        """
        if len(self._before) == WINDOW and loss > self._guessing and loss > self._threshold():
            self._high.append((step, loss))
            return self._high[0][0] if len(self._high) == IN_A_ROW else None
        self._before.extend(high for _, high in self._high)
        self._high.clear()
        self._before.append(loss)
        return None

    def _threshold(self) -> float:
        before = np.array(self._before)
        median = float(np.median(before))
        deviation = _NORMAL * float(np.median(np.abs(before - median)))
        return median + max(DEVIATIONS * deviation, LEAST)
