"""What a case may cost and what it may end with."""

from __future__ import annotations

import gc
import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixnet_core.errors import MixnetError

_MEMORY = Path("/dev/shm")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Beyond it a case is ended, so that a bomb does not take the machine with it.
_HANG_SECONDS = 60
_HANG_BYTES = 3 << 30


@dataclass(frozen=True)
class Ended:
    """What a call came to: a value, or the typed error that it was refused with."""

    value: Any = None
    error: MixnetError | None = None

    @property
    def said(self) -> tuple[str, str] | None:
        """The error's type and words."""
        return None if self.error is None else (type(self.error).__name__, str(self.error))


def ended(work: Callable[..., Any], *args: Any, **more: Any) -> Ended:
    """Calls; whatever is no error of the project's is raised."""
    try:
        return Ended(work(*args, **more))
    except MixnetError as error:
        return Ended(error=error)


@contextmanager
def place() -> Iterator[Path]:
    """An empty folder, in memory where that is possible: much is synced to disk in it."""
    where = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mixnet-fuzz-", dir=where) as folder:
        yield Path(folder)


@contextmanager
def within(*, seconds: float, megabytes: int) -> Iterator[None]:
    """Holds a block to so much of the processor's time and of memory.

    Where the most of memory cannot be had of the system, time alone is held.
    """
    before = _peak_megabytes(anew=True)
    # What thousands of tests before it left is not this case's to look through for garbage, and
    # the threads that they left (a server's, a runtime's, spinning) are not its time.
    gc.freeze()
    began = time.thread_time()
    try:
        with _not_for_ever():
            yield
        took = time.thread_time() - began
    finally:
        gc.unfreeze()
    assert took <= seconds, f"it took {took:.1f} s of the processor, expected {seconds} at most"
    if before is not None:
        grown = (_peak_megabytes() or 0) - before
        assert grown <= megabytes, f"it took {grown:.0f} MB, expected {megabytes} at most"


@contextmanager
def _not_for_ever() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"no end within {_HANG_SECONDS} s")

    used = int(_STATUS.read_text().partition("VmSize:")[2].split()[0]) * 1024
    limits = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_HANG_SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (used + _HANG_BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)


def _peak_megabytes(*, anew: bool = False) -> float | None:
    """The most memory that this process had, since it was last asked for anew."""
    try:
        if anew:
            _CLEAR.write_text("5")
        return int(_STATUS.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    except OSError:
        return None


def expect_one_line(error: Exception) -> None:
    """Holds an error to the one line that a user reads."""
    assert len(str(error).splitlines()) == 1, f"an error of several lines: {str(error)!r}"
