"""Looks at the ranks of a running attempt: which gave no sign of life for too long, and why.

A rank gives a sign with `processes.child.beat`, which touches a file; what counts is when this
process saw the file changed. The first sign says that the first step, which compiles, begins; every
later one says that a step, or as much work, is done. A mark beside it says that the rank is in a
call that can give none (`child.long_stretch`), or that others may wait for it (`others_wait`).

Time is counted by looks: a step of the wall clock, a suspended machine or a caller that was stopped
itself adds no more than one look's worth.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.processes import child
from mixnet_core.storage.files import read_json

# More between two looks is not the ranks' time: nobody was looking.
_LONGEST_LOOK_SECONDS = 5.0
# Ranks that wait for each other beat within milliseconds; one this much behind the others hangs.
_BEHIND_SECONDS = 2.0
_STACKS_SECONDS = 2.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Patience:
    """Says how long an attempt may give no sign of life.

    Attributes:
        first_seconds: from its start until every rank has done its first step: imports and
            compilation. Also of each `child.long_stretch` after that.
        stall_seconds: between two signs of a rank after that.
    """

    first_seconds: float
    stall_seconds: float


@dataclass
class _Rank:
    """Holds what is known of a rank.

    Attributes:
        pid: its process id; None until it wrote it.
        changed: its alive file's time of change in ns; None before its first sign.
        first_step_done: whether it has given a second sign.
        seen: when the alive file was last seen changed, in seconds of the watchdog's own time.
        in_long_stretch: whether it was in a call that can give no sign, at the last look.
        awaited: whether others may have been waiting for it, at the last look.
        lives: whether its process was there at the last look.
        stopped: whether it was stopped, as by SIGSTOP, at the last look at which it lived.
        stopped_before: the same of the look before that one. SIGKILL sets a stopped process going
            before it ends it: the last look may have met it running, and then only the look before
            tells that it was stopped.
    """

    pid: int | None = None
    changed: int | None = None
    first_step_done: bool = False
    seen: float = 0.0
    in_long_stretch: bool = False
    awaited: bool = False
    lives: bool = True
    stopped: bool = False
    stopped_before: bool = False


@dataclass
class Watchdog:
    """Watches the ranks of one attempt; its `look` is to be called every fraction of a second.

    Args:
        attempt: the attempt's folder.
        ranks: processes that were started.
        patience: how long they may be silent; None: for ever.
        here: those of them that run on this machine; None: all. Of others only their signs are
            seen, and nothing says that they have ended.
        clock: seconds that never go back.
    """

    attempt: Path
    ranks: int
    patience: Patience | None
    clock: Callable[[], float] = time.monotonic
    here: range | None = None
    _known: list[_Rank] = field(init=False)
    _looked: float = field(init=False)
    _time: float = field(init=False, default=0.0)
    _began: float | None = field(init=False, default=None)
    # Until when some ranks had to give no signs, because they may have waited for another one.
    _others_since: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._known = [_Rank() for _ in range(self.ranks)]
        self._looked = self.clock()

    def look(self) -> str | None:
        """Looks at every rank once.

        Returns:
            What is wrong if the patience is used up: "no progress for 600 s (rank 1 is ...)"; else
            None.
        """
        now = self.clock()
        self._time += min(now - self._looked, _LONGEST_LOOK_SECONDS)
        self._looked = now
        for number, rank in enumerate(self._known):
            self._look_at(rank, str(number))
        if self.patience is None:
            return None
        # One that has ended will do no further step, and had none to do perhaps.
        if self._began is None and all(
            rank.first_step_done or not rank.lives for rank in self._known
        ):
            self._began = self._time
        if self._began is None:
            if self._time < self.patience.first_seconds:
                return None
            return f"no first step within {self.patience.first_seconds:g} s ({self._blame()})"
        # A rank that has ended waits for nobody; if all have, what started them hangs.
        living = [rank for rank in self._known if rank.lives]
        busy = [rank for rank in living if rank.in_long_stretch or rank.awaited]
        if busy:
            self._others_since = self._time
        for rank in busy or living or self._known:
            patience, since = self.patience.stall_seconds, max(rank.seen, self._began)
            if not busy:
                since = max(since, self._others_since)
            elif rank.in_long_stretch:
                patience = self.patience.first_seconds
            if self._time - since >= patience:
                return f"no progress for {patience:g} s ({self._blame()})"
        return None

    def stopped(self) -> tuple[str, ...]:
        """Returns the ranks that were stopped, as by SIGSTOP, when last seen alive."""
        return tuple(
            str(number)
            for number, rank in enumerate(self._known)
            if rank.stopped or rank.stopped_before
        )

    def dump_stacks(self) -> None:
        """Has every rank write its Python stacks to its log; returns when they had time to."""
        asked = []
        for rank in self._known:
            if rank.pid is not None and rank.lives and not rank.stopped:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(rank.pid, child.STACKS_SIGNAL)
                    asked.append(rank.pid)
        deadline = time.monotonic() + _STACKS_SECONDS
        while asked and time.monotonic() < deadline:
            # Still pending: not written yet.
            asked = [pid for pid in asked if _is_pending(pid, child.STACKS_SIGNAL)]
            time.sleep(_POLL_SECONDS)

    def _look_at(self, rank: _Rank, name: str) -> None:
        # Before the sign: at the end of a stretch a rank gives its sign before it takes the mark.
        before = (rank.in_long_stretch, rank.awaited)
        rank.in_long_stretch = (self.attempt / child.long_file(name)).exists()
        rank.awaited = (self.attempt / child.awaited_file(name)).exists()
        if (rank.in_long_stretch, rank.awaited) != before:
            rank.seen = self._time
        with suppress(OSError):
            changed = (self.attempt / child.alive_file(name)).stat().st_mtime_ns
            if changed != rank.changed:
                rank.changed, rank.seen = changed, self._time
                rank.first_step_done = changed != child.FIRST_BEAT
        if self.here is not None and int(name) not in self.here:
            return
        if rank.pid is None:
            with suppress(InputError, IntegrityError):
                rank.pid = int(read_json(self.attempt / child.process_file(name)))
        if rank.pid is not None:
            state = _state(rank.pid)
            rank.lives = state not in ("", "Z", "X")
            if rank.lives:
                rank.stopped_before = rank.stopped
                rank.stopped = state in ("T", "t")

    def _blame(self) -> str:
        """Says who hangs, as far as that can be told."""
        states = {
            number: _state(rank.pid) if rank.pid is not None else ""
            for number, rank in enumerate(self._known)
        }
        stopped = [number for number, state in states.items() if state in ("T", "t")]
        if stopped:
            return f"{_named(stopped)} stopped (SIGSTOP)"
        blocked = [number for number, state in states.items() if state == "D"]
        if blocked:
            return f"{_named(blocked)} blocked in the kernel, as by a disk or a device"
        if self._began is None:
            silent = [n for n, rank in enumerate(self._known) if not rank.first_step_done]
            if len(silent) < self.ranks:
                return f"{_named(silent)} silent, the others are not"
        else:
            newest = max(rank.seen for rank in self._known)
            behind = [
                n
                for n, rank in enumerate(self._known)
                if rank.lives and newest - rank.seen > _BEHIND_SECONDS
            ]
            if behind:
                return f"{_named(behind)} silent for longer than the others"
        return "it is running but silent" if self.ranks == 1 else "all ranks are silent"


def _named(ranks: list[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]} is"
    return f"ranks {', '.join(map(str, ranks))} are"


def _state(pid: int) -> str:
    """Reads a process's state, the letter of /proc/PID/stat; "" for a process that is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


def _is_pending(pid: int, signum: signal.Signals) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return False
    masks = [
        int(line.split()[1], 16)
        for line in status.splitlines()
        if line.startswith(("SigPnd:", "ShdPnd:"))
    ]
    return any(mask >> (signum - 1) & 1 for mask in masks)
