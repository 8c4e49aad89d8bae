"""A process that calls `run_job`, to be killed: ATTEMPTS FOLDER MARK RANKS [cancelled [ACT]].

With `cancelled` it handles SIGTERM and SIGHUP as Prefect does SIGTERM, by raising in the main
thread, and ends with CANCELLED once that came through the call, or SAVED if the job has saved by
then.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from mixnet_core.errors import Stopped
from mixnet_core.processes.launch import run_job
from tests.processes.programs.acts import Act

CANCELLED = 77
SAVED = 75
GRACE_VARIABLE = "CALLER_GRACE_SECONDS"


class Cancelled(BaseException):
    pass


def cancel(signum: int, frame: FrameType | None) -> None:
    raise Cancelled


def main(attempts: str, folder: str, mark: str, ranks: str, *handling: str) -> int:
    if handling:
        signal.signal(signal.SIGTERM, cancel)
        signal.signal(signal.SIGHUP, cancel)
    try:
        run_job(
            "tests.processes.programs.acts",
            Act(name=handling[1] if len(handling) > 1 else "stay", folder=folder),
            attempts=Path(attempts),
            ranks=int(ranks),
            env={"LAUNCH_TEST_MARK": mark},
            grace_seconds=float(os.environ.get(GRACE_VARIABLE, "60")),
        )
    except Cancelled as cancelled:
        return SAVED if isinstance(cancelled.__cause__, Stopped) else CANCELLED
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
