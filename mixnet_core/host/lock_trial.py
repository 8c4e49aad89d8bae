"""Tries in a folder what runs need of its file system; run as a script, as a dead server hangs it.

    python -I -S lock_trial.py FOLDER
    python -I -S lock_trial.py --held FILE

Its output is one line of JSON: the step that failed and why, {} if none did; of a file whether
somebody has it locked, under "held".
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import tempfile
from pathlib import Path


def try_folder(folder: Path) -> dict[str, str]:
    """Locks a file twice, replaces one by another, and removes both.

    Returns:
        The first step that did not work -> why, in the words of the kernel.
    """
    step = "make"
    try:
        with tempfile.TemporaryDirectory(prefix=".mixnet-trial-", dir=folder) as inside:
            for name, work in _STEPS.items():
                step = name
                work(Path(inside))
            step = "remove"
    except OSError as error:
        return {step: error.strerror or str(error)}
    return {}


def try_held(file: Path) -> dict[str, str]:
    """Tells under "held" whether another process, on whichever host, has a file locked.

    Returns:
        "yes" or "no"; where that cannot be told, "lock" -> why.
    """
    try:
        with file.open("r+b") as own:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return {"held": "yes"}
    except OSError as error:
        return {"lock": error.strerror or str(error)}
    return {"held": "no"}


def _lock_twice(folder: Path) -> None:
    file = folder / "lock"
    with file.open("w") as first, file.open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
    raise OSError(0, "two hold one lock at once")


def _replace(folder: Path) -> None:
    old, new = folder / "old", folder / "new"
    old.write_text("old")
    new.write_text("new")
    new.replace(old)
    if old.read_text() != "new" or new.exists():
        raise OSError(0, "a renamed file is not in its place")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_STEPS = {"lock": _lock_twice, "rename": _replace, "sync": _sync}

if __name__ == "__main__":
    found = try_held if sys.argv[1] == "--held" else try_folder
    sys.stdout.write(json.dumps(found(Path(sys.argv[-1]))))
