"""A job that this process plays, in a time of its own: slow work in it costs a test no time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.processes import child
from mixnet_core.processes.child import ATTEMPT_VARIABLE
from mixnet_core.processes.watchdog import Patience, Watchdog
from mixnet_core.storage.files import call_between_pieces, write_json

FIRST_SECONDS, STALL_SECONDS = 100.0, 10.0
# What a piece of work may take that gives a sign after it; more than one without a sign is a hang.
NEARLY = 0.8 * STALL_SECONDS


class Killed(BaseException):
    """The watchdog would have ended the job."""


class SlowJob:
    """Is watched as run_job does it; `takes` lets time pass.

    Attributes:
        attempt: its folder.
        seconds: of its time so far.
    """

    def __init__(self, attempt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.attempt = attempt
        attempt.mkdir(parents=True)
        self.seconds = 0.0
        monkeypatch.setenv(ATTEMPT_VARIABLE, str(attempt))
        monkeypatch.setattr(child, "_SECONDS_BETWEEN_PIECES", 0.0)
        # Another test of this process may have given a sign just now.
        monkeypatch.setattr(child, "_next_piece", 0.0)
        write_json(attempt / child.process_file("0"), os.getpid())
        patience = Patience(first_seconds=FIRST_SECONDS, stall_seconds=STALL_SECONDS)
        self._dog = Watchdog(attempt, 1, patience, clock=lambda: self.seconds)
        # As `child.main` does; it does nothing once the attempt's variable is gone.
        call_between_pieces(child.still_working)

    def takes(self, seconds: float) -> None:
        """Lets time pass, in which the process does nothing else."""
        # A sign of life is a file's time, whose clock ticks every few milliseconds only.
        time.sleep(0.02)
        for _ in range(int(2 * seconds)):
            self.seconds += 0.5
            said = self._dog.look()
            if said is not None:
                raise Killed(said)

    def slowed(self, work: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        """Returns the same work, taking longer."""

        def slow(*arguments: Any, **named: Any) -> Any:
            self.takes(seconds)
            return work(*arguments, **named)

        return slow


@pytest.fixture
def slow_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlowJob:
    return SlowJob(tmp_path / "slow-job" / "attempt-001", monkeypatch)
