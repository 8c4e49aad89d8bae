"""A sign of life that other hosts can read: a number in a file, which grows as long as all is well.

Clocks of hosts differ, and times of change on a network's disk are the server's. So who watches
compares the number with what it was, and counts the seconds in between by its own clock.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from mixnet_core.storage.files import os_errors_explained

_SECONDS_BETWEEN_BEATS = 1.0
# More between two looks is not the other's silence: nobody was looking.
_LONGEST_LOOK_SECONDS = 5.0
_DIGITS = 20


class Pulse:
    """Makes the number grow, as a context, from a thread of its own.

    It is written in place, because that needs no room on a full disk. Writing that fails is
    silence, which is what it means.

    Args:
        path: of the file; one that is there is counted on from.
        seconds: between two numbers.

    Raises:
        MachineError: the file cannot be made.
    """

    def __init__(self, path: Path, seconds: float = _SECONDS_BETWEEN_BEATS) -> None:
        self._path, self._seconds = path, seconds
        self._number = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        self._number = read_pulse(self._path) or 0
        with os_errors_explained(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._write(os.O_CREAT)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(self._seconds):
            with suppress(OSError):
                self._write()

    def _write(self, flags: int = 0) -> None:
        self._number += 1
        # Opened and closed for each: that is what shows it to other hosts of a network's disk.
        handle = os.open(self._path, os.O_WRONLY | flags, 0o644)
        try:
            os.pwrite(handle, f"{self._number:0{_DIGITS}d}\n".encode(), 0)
        finally:
            os.close(handle)


def read_pulse(path: Path) -> int | None:
    """Returns the number; None where there is none that can be read."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


class Silence:
    """Counts for how long a number of somebody else's stands still, by this host's clock.

    Args:
        number: as it is now; None where there is none.
        clock: seconds that never go back.

    Attributes:
        has_grown: whether it was seen to change from one number to another.
    """

    def __init__(self, number: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = clock()
        self._number = number
        self._seconds = 0.0
        self.has_grown = False

    def after(self, number: int | None) -> float:
        """Takes the number as it is now; returns for how many seconds of looking it stood still.

        To be called every few seconds. None, as where it cannot be read, is silence.
        """
        now = self._clock()
        self._seconds += min(now - self._looked, _LONGEST_LOOK_SECONDS)
        self._looked = now
        if number is not None and number != self._number:
            self.has_grown = self.has_grown or self._number is not None
            self._number, self._seconds = number, 0.0
        return self._seconds


class PulseWatch:
    """Watches a number that somebody else makes grow; `silent` is to be called every few seconds.

    Args:
        path: as of `Pulse`.
        clock: seconds that never go back.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._silence = Silence(read_pulse(path), clock)

    @property
    def has_grown(self) -> bool:
        """Tells whether the number was seen to grow."""
        return self._silence.has_grown

    def silent(self) -> float:
        """Looks once; returns for how many seconds of looking the number has stood still."""
        return self._silence.after(read_pulse(self._path))
