"""Asking a store for what is worth some seconds and no more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


def done_in_time(call: Callable[[], object], what: str, seconds: float) -> bool:
    """Makes a call that whoever pressed Ctrl-C would not wait for, if a store stands still.

    What takes longer goes on in a thread that does not keep the process.

    Args:
        call: what it raises is a warning.
        what: is left if it fails or takes longer, for that warning.
        seconds: to wait for it.

    Returns:
        Whether it was made.
    """
    why: list[str] = []
    done = threading.Event()

    def make() -> None:
        try:
            call()
            done.set()
        except Exception as error:
            why.append(str(error))

    thread = threading.Thread(target=make, name="in time", daemon=True)
    thread.start()
    thread.join(seconds)
    if not done.is_set():
        reason = why[0] if why else f"the store took more than {seconds:g} s"
        log.warning("%s is left: %s", what, reason)
    return done.is_set()
