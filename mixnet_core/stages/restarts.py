"""When training that failed starts again by itself, and after how long a pause."""

from __future__ import annotations

import time
from collections.abc import Callable

from mixnet_core.errors import MixnetError

# After 5 s a killed rank's memory is free, after 30 s its card is let go of, after 120 s a card or
# a link is reset, or another process has given back memory.
PAUSES = (5.0, 30.0, 120.0)


class Restarts:
    """Decides after each failure whether training starts again, and waits before it does.

    Args:
        most: restarts in a row without a newer checkpoint in between; after one that left a newer
            one training always goes on, and at once.
        say: is told what was seen and what is done about it, in a line.
        wait: as `time.sleep`.
    """

    def __init__(
        self,
        most: int,
        say: Callable[[str], None],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._most, self._say, self._wait = most, say, wait
        self._step = self._in_vain = 0

    def begin(self, step: int) -> None:
        """Notes the step that an attempt starts from, where that is not what `after` was told."""
        self._step = step

    def goes_on(self, step: int) -> None:
        """Notes that the next attempt goes on from a step where one ended that did not fail."""
        if step > self._step:
            self._in_vain = 0
        self._step = step

    def after(self, error: MixnetError, step: int) -> None:
        """Returns when the next attempt is due.

        Args:
            error: what ended the attempt.
            step: of the newest checkpoint, from which the next one starts.

        Raises:
            MixnetError: the error, where again does not help or was tried often enough.
        """
        if not error.retryable:
            raise error
        progressed, self._step = step > self._step, step
        if progressed:
            self._in_vain = 0
            self._say(f"stopped: {error}; going on from step {step}")
            return
        if self._in_vain == self._most:
            if self._most:
                times = f"{self._most} restart{'s' if self._most > 1 else ''}"
                self._say(f"given up after {times} in a row without a newer checkpoint")
            raise error
        pause = PAUSES[min(self._in_vain, len(PAUSES) - 1)]
        self._in_vain += 1
        self._say(
            f"stopped: {error}; starting again from step {step} in {pause:g} s, restart "
            f"{self._in_vain} of {self._most} without a newer checkpoint"
        )
        self._wait(pause)
