"""A process that holds devices, to be killed: COUNT LOG WORK, then what it does with them.

    job ATTEMPTS FOLDER MARK   a job that stays, as `caller`
    write SECONDS              keeps them for a while; LOG gets a line at the beginning and the end

It handles SIGTERM as Prefect does. LOG gets its lines.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from mixnet_core.processes.held_devices import devices_held
from mixnet_core.processes.launch import run_job
from tests.processes.programs.acts import Act
from tests.processes.programs.caller import CANCELLED, Cancelled, cancel


def main(count: str, log: str, work: str, what: str, *arguments: str) -> int:
    signal.signal(signal.SIGTERM, cancel)

    def say(text: str) -> None:
        handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{work}: {text}\n".encode())
        os.close(handle)

    try:
        with devices_held("Ascend", int(count), work, say) as held:
            if what == "write":
                say(f"takes {held.numbers}")
                time.sleep(float(arguments[0]))
                say(f"leaves {held.numbers}")
                return 0
            attempts, folder, mark = arguments
            run_job(
                "tests.processes.programs.acts",
                Act(name="stay", folder=folder),
                attempts=Path(attempts),
                env={"LAUNCH_TEST_MARK": mark, **(held.environment or {})},
                keep_open=held.handles,
            )
    except Cancelled:
        return CANCELLED
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
