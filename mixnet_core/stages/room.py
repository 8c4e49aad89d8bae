"""Says that a job waits for room on a full disk, for as long as it does."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mixnet_core.processes.full_disk import full_file
from mixnet_core.storage.sizes import size

# After the first line, another one so seldom.
_SECONDS_BETWEEN = 600.0


class RoomNotice:
    """Looks for rank 0's mark of a full disk in an attempt's folder, a call a look.

    Args:
        folder: on the disk.
        most: seconds that a checkpoint waits.
        say: is told, in a line.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        folder: Path,
        most: float,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._most, self._say, self._clock = folder, most, say, clock
        self._attempt: Path | None = None
        self._since: float | None = None
        self._next = 0.0

    def __call__(self, attempt: Path) -> None:
        now = self._clock()
        if attempt != self._attempt:
            # One that was killed leaves its mark, which says nothing of this one.
            self._attempt, self._since = attempt, None
        if not (attempt / full_file("0")).exists():
            if self._since is not None:
                self._say(f"there is room again after {_time(now - self._since)}, going on")
                self._since = None
            return
        if self._since is None:
            self._since = self._next = now
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN
            waited = now - self._since
            so_far = f" for {_time(waited)} so far" if waited >= 1 else ""
            self._say(
                f"the disk of {self._folder} is full{so_far}{self._free()}: free space; a "
                f"checkpoint waits for it, {_time(self._most)} at most"
            )

    def _free(self) -> str:
        with suppress(OSError):
            return f", {size(shutil.disk_usage(self._folder).free)} left"
        return ""


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
