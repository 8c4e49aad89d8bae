"""How long training waits for its images: what tells a slow disk from a slow device."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class DataWait:
    """Counts the seconds in which this rank did nothing but wait for its next images."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def counted(self, batches: Iterator[T]) -> Iterator[T]:
        """Yields what it is given; the time until each is there counts."""
        while True:
            began = time.monotonic()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self._seconds += time.monotonic() - began
            yield batch

    def taken(self) -> float:
        """Returns the seconds since the last call, and counts anew."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds
