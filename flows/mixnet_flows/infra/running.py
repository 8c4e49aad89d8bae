"""A program of the server's, for as long as a block runs: supervised, and logged into a file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mixnet_core.processes import supervisor
from mixnet_core.storage.files import os_errors_explained

# The supervisor ends everything below it in eight.
STOP_SECONDS = 12.0
_LONGEST_LOG_BYTES = 20_000_000


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str] | None,
    home: Path,
    *,
    folder: Path | None = None,
    stop_seconds: float = STOP_SECONDS,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command below a supervisor: it ends with this process, however that ends.

    Args:
        environment: None is this process's.
        home: gets the log, `name`.log.
        folder: where it runs; None is this process's.
        stop_seconds: how long it may take to end before it is killed.

    Raises:
        MachineError: the log cannot be written.
    """
    with os_errors_explained(home / f"{name}.log"), _log(home, name).open("ab") as log:
        process = subprocess.Popen(
            [*(sys.executable, "-I", "-S", str(supervisor.__file__), "--"), *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # Ctrl-C reaches this process only, and the order of ending is ours.
            start_new_session=True,
        )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def shorten_log(home: Path, name: str) -> None:
    """Moves a log's text into `name`.log.1 once it is long; its program goes on writing into it.

    The program appends, so it writes at the start of the file that was emptied. A line that comes
    between the copy and that is lost.
    """
    file = _log(home, name)
    if not file.is_file() or file.stat().st_size < _LONGEST_LOG_BYTES:
        return
    shutil.copyfile(file, file.with_name(f"{name}.log.1"))
    os.truncate(file, 0)


def _log(home: Path, name: str) -> Path:
    return home / f"{name}.log"
