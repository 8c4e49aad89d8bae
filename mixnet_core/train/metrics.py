"""What training says while it runs: JSON lines, one row per event, written by rank 0.

    {"event": "start",      "step", "steps", "epochs", "ranks", "images_per_step",
                             "compiled", "changes"}
    {"event": "compiled",   "step", "seconds"}
    {"event": "step",       "step", "epoch", "loss", "lr", "images_per_second", "data_wait"}
    {"event": "epoch",      "step", "epoch", "loss", "seconds", "unreadable"}
    {"event": "checkpoint", "step", "epoch", "path"}
    {"event": "score",      "step", "epoch", "file", "count", "correct1", "correct5", "loss"}

Every row also has "time", in seconds since 1970: no two rows of two attempts are equal.
step counts finished optimizer steps and epoch finished epochs, except in "step" rows, where epoch
is the running one from 1. loss is rank 0's mean since the last row of that event, without dropped
steps, and null if there were only those; lr is the learning rate of the last step; data_wait is the
share of the time since the last such row, in 0..1, in which rank 0 waited for its images, null in
a row of an attempt's first step, and missing in rows of earlier versions. In "start" rows compiled
says whether an earlier start's graph is used, and changes how this attempt computes otherwise than
the one before; a "compiled" row says that the first step is done. unreadable counts the images of
all ranks that could not be read so far. A "score" row is of the checkpoint's file on the select
split.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from mixnet_core.errors import MachineError
from mixnet_core.processes.full_disk import mark_full
from mixnet_core.storage.files import lacks_room, os_errors_explained, write_text


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads all whole rows; a last line that a crash cut short is left out.

    Args:
        path: of the file; no rows if it is missing.
    """
    if not path.is_file():
        return []
    rows = []
    # As bytes: what a crash left may be no text.
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
    return rows


class MetricsLog:
    """Appends rows to a file.

    Where there is no room for one it is kept, and written with a later one: training goes on.

    Args:
        path: of the file.
        step: where training goes on; rows beyond it, which the resumed run writes again, are
            dropped on opening, and all rows at step 0.

    Raises:
        MachineError: the disk is full or not writable.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        kept = [row for row in read_metrics(path) if row["step"] <= step and step > 0]
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._path = path
        self._unwritten: list[bytes] = []

    def row(self, event: str, **values: Any) -> None:
        """Appends one row.

        Args:
            event: what the row tells; see the module's header.
            values: its other keys; the time is added.

        Raises:
            MachineError: the file is not writable.
        """
        now = round(time.time(), 3)
        row = {"event": event, "time": now, **values}
        self._unwritten.append(json.dumps(row).encode() + b"\n")
        try:
            self.flush()
        except MachineError as error:
            if not lacks_room(error):
                raise
            mark_full(True)

    def flush(self) -> None:
        """Writes the rows that found no room, all of them or none.

        Raises:
            MachineError: the disk is full or not writable.
        """
        if not self._unwritten:
            return
        with os_errors_explained(self._path):
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                _append(handle, b"".join(self._unwritten))
            finally:
                os.close(handle)
        if len(self._unwritten) > 1:
            mark_full(False)
        self._unwritten.clear()


def _append(handle: int, content: bytes) -> None:
    """Writes all or nothing: after a part of a row, readers would take none that follows."""
    before = os.fstat(handle).st_size
    try:
        while content:
            content = content[os.write(handle, content) :]
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, before)
        raise
