"""A process that calls `run_job`, to be killed: ATTEMPTS FOLDER MARK RANKS [cancelled].

With the last it handles SIGTERM as Prefect does, by raising in the main thread, and ends with
CANCELLED once that came through the call.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

from mixnet_core.processes.launch import run_job
from tests.processes.programs.acts import Act

CANCELLED = 77


class Cancelled(BaseException):
    pass


def cancel(signum: int, frame: FrameType | None) -> None:
    raise Cancelled


def main(attempts: str, folder: str, mark: str, ranks: str, *handling: str) -> int:
    if handling == ("cancelled",):
        signal.signal(signal.SIGTERM, cancel)
    try:
        run_job(
            "tests.processes.programs.acts",
            Act(name="stay", folder=folder),
            attempts=Path(attempts),
            ranks=int(ranks),
            env={"LAUNCH_TEST_MARK": mark},
        )
    except Cancelled:
        return CANCELLED
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
