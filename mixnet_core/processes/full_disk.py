"""A rank that finds the disk full waits for room, instead of losing what it has to write.

It leaves a mark in its attempt's folder for as long as something is unwritten: whoever started the
job looks for it and says so, for the rows that would tell it may be what has no room.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mixnet_core.errors import MachineError
from mixnet_core.processes.child import ATTEMPT_VARIABLE, current_rank, still_working
from mixnet_core.storage.files import lacks_room

T = TypeVar("T")

# A try may write a whole checkpoint, and takes the room of others on that disk while it lasts.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0
_SIGN_SECONDS = 0.5

log = logging.getLogger(__name__)


def until_room(write: Callable[[], T], seconds: float) -> T:
    """Calls `write` again and again for as long as it fails for want of room.

    Signs of life are given meanwhile (`child.still_working`).

    Args:
        write: must leave nothing behind where it fails.
        seconds: how long at most.

    Returns:
        What `write` returns.

    Raises:
        MachineError: as `write`, where it fails for another reason, or once the time is over.
    """
    pause, began = _FIRST_PAUSE, time.monotonic()
    while True:
        try:
            written = write()
        except MachineError as error:
            left = began + seconds - time.monotonic()
            if not lacks_room(error) or left <= 0:
                mark_full(False)
                raise
            log.warning("%s; trying again for %.0f s", error, left)
            mark_full(True)
            _wait(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            mark_full(False)
            return written


def mark_full(is_full: bool) -> None:
    """Leaves the mark, or takes it away; never fails, and does nothing outside of an attempt."""
    attempt = os.environ.get(ATTEMPT_VARIABLE)
    if attempt is None:
        return
    mark = Path(attempt) / full_file(current_rank())
    with suppress(OSError):
        if is_full:
            mark.touch()
        else:
            mark.unlink(missing_ok=True)


def full_file(rank: str) -> str:
    """Names the mark in an attempt's folder.

    Args:
        rank: as `child.current_rank` returns it.
    """
    return f"full-{rank}"


def _wait(seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        still_working()
        time.sleep(min(_SIGN_SECONDS, left))
