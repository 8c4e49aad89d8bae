"""How long a store that does not answer is waited for, and what is said of it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from mixnet_core.errors import TransientError

OUTAGE_SECONDS = 600.0
"""A store that is restarted, or moved, is back before that."""

_LONGEST_WAIT = 15.0
# A person wants to see that it goes on, and not a page of it.
_SECONDS_BETWEEN_LINES = 30.0

T = TypeVar("T")


class Patience:
    """Tries again what failed in a way that may pass, in any number of threads.

    Args:
        seconds: since the first failure without an answer in between; 0 tries once.
        say: is told that it waits, in a line; seldom, and in any thread.
        stopped: ends the waiting where nobody wants the answer any more.
    """

    def __init__(
        self,
        seconds: float,
        say: Callable[[str], None],
        stopped: threading.Event | None = None,
    ) -> None:
        self._seconds, self._say = seconds, say
        self._stopped = stopped or threading.Event()
        self._lock = threading.Lock()
        self._since: float | None = None
        self._said = -_SECONDS_BETWEEN_LINES

    def through(self, work: Callable[[], T]) -> T:
        """Returns what `work` does, done anew until it works.

        Raises:
            TransientError: it still failed when the time was up, or nobody wants it any more.
            MixnetError: what no waiting helps against.
        """
        first, attempt = None, 0
        while True:
            try:
                answer = work()
            except TransientError as error:
                now = time.monotonic()
                first = now if first is None else first
                if not self._waits(error, now, first):
                    raise
                wait = min(2.0**attempt, _LONGEST_WAIT) * random.uniform(0.5, 1)
                attempt += 1
                if self._stopped.wait(wait):
                    raise
            else:
                self.answered()
                return answer

    def answered(self) -> None:
        """Notes that the store is there."""
        with self._lock:
            if self._since is not None:
                away = time.monotonic() - self._since
                self._since = None
                if self._said > 0:
                    self._say(f"the store answers again after {away:.0f} s, going on")
                    self._said = -_SECONDS_BETWEEN_LINES

    def _waits(self, error: TransientError, now: float, first: float) -> bool:
        """Tells whether to wait on.

        Args:
            first: when this work failed first: others may get answers all the while, as where one
                object is damaged.
        """
        with self._lock:
            self._since = now if self._since is None else self._since
            if now - first >= self._seconds:
                return False
            if now - self._said >= _SECONDS_BETWEEN_LINES:
                self._said = now
                minutes = self._seconds / 60
                self._say(f"{error}; trying again for {minutes:.0f} min before giving up")
            return True
