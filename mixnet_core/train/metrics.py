"""What training says while it runs: JSON lines, one row an event, written by rank 0.

    {"event": "start",      "step", "steps", "epochs", "ranks", "images_per_step",
                             "compiled", "changes"}
    {"event": "compiled",   "step", "seconds"}
    {"event": "step",       "step", "epoch", "loss", "lr", "images_per_second"}
    {"event": "epoch",      "step", "epoch", "loss", "seconds", "unreadable"}
    {"event": "checkpoint", "step", "epoch", "path"}
    {"event": "score",      "step", "epoch", "file", "count", "correct1", "correct5", "loss"}

Every row also has "time", in seconds since 1970: no two rows of two attempts are equal.
step counts finished optimizer steps and epoch finished ones, except in "step" rows, where epoch is
the running one from 1. loss is rank 0's mean since the last such row, without dropped steps, and
null if there were only those; lr is the rate of the last step. compiled says whether an earlier
start's graph is used, changes how this attempt computes otherwise than the one before, unreadable
how many images of any rank could not be read so far. A score is that of the checkpoint's file on
the select split.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from mixnet_core.storage.files import os_errors_explained, write_text


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole rows; a last line that a crash cut short is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class MetricsLog:
    """Appends rows; on opening drops those beyond `step`, which a resumed run writes again."""

    def __init__(self, path: Path, *, step: int) -> None:
        kept = [row for row in read_metrics(path) if row["step"] <= step and step > 0]
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._path = path

    def row(self, event: str, **values: Any) -> None:
        """Raises MachineError if it cannot be written, as when the disk is full."""
        now = round(time.time(), 3)
        with os_errors_explained(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, "time": now, **values}) + "\n")
