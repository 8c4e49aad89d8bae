"""Has the runs of a worker save what they did before the worker ends.

    python -m mixnet_flows.infra.saving FILE

is what a unit of systemd calls when it stops: a worker of Prefect's that is told to end kills its
runs. FILE stands in MIXNET_STOP_FILE of the worker, and so of its runs: once it is there, their
training saves after the step that it is in, and ends; before its first step it ends at once. What
saves nothing, as measuring, has the time to come to its end.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import psutil

from mixnet_core.processes.launch import ATTEMPT_VARIABLE
from mixnet_core.processes.stopping import NOTICE_VARIABLE
from mixnet_core.storage.files import os_errors_explained

# `devices.grace_seconds` is 20 where a recipe says nothing else; what has not ended then is ended
# within 10.
SECONDS = 35.0
_POLL_SECONDS = 0.2


def let_runs_save(stop_file: Path, seconds: float = SECONDS) -> int:
    """Asks every run that knows the file to save and end, and waits for that.

    Args:
        seconds: how long at most.

    Returns:
        How many of their processes are left.

    Raises:
        MachineError: the file cannot be written.
    """
    with os_errors_explained(stop_file):
        stop_file.touch()
    deadline = time.monotonic() + seconds
    while (left := _jobs(stop_file)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return left


def let_runs_start(stop_file: Path) -> None:
    """Takes the file away again, before a worker starts.

    Raises:
        MachineError: it cannot be removed.
    """
    with os_errors_explained(stop_file, "remove"):
        stop_file.unlink(missing_ok=True)


def _jobs(stop_file: Path) -> int:
    """Counts the processes of stages of every worker that has this file."""
    count = 0
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            is_dead = process.status() == psutil.STATUS_ZOMBIE
        # It ended meanwhile, or is somebody else's.
        except (psutil.Error, OSError):
            continue
        if environment.get(NOTICE_VARIABLE) == str(stop_file) and not is_dead:
            count += ATTEMPT_VARIABLE in environment
    return count


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long to wait at most")
    options = parser.parse_args()
    return 1 if let_runs_save(options.file.absolute(), options.seconds) else 0


if __name__ == "__main__":
    raise SystemExit(main())
