"""A training's rows as TensorBoard's event file, beside metrics.jsonl.

It is a view: at each start of an attempt a file is written anew from the rows that are kept, and
the one before is emptied, so that a run that was resumed, or went back to an earlier bundle, shows
every step once. It begins with a mark at which a TensorBoard that watches forgets what it had read.

    train/loss learning_rate images_per_second data_wait    of each logged step
    train/epoch_loss                                        of each epoch
    select/top1 top5 loss                                   of each score; top1_ema of averages
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mixnet_core.runs.values import WEIGHTS_FILE
from mixnet_core.storage.files import os_errors_explained

# Behind TensorBoard's own name: files that somebody else put there stay.
_SUFFIX = ".mixnet"
_OF_A_STEP = {
    "loss": "train/loss",
    "lr": "train/learning_rate",
    "images_per_second": "train/images_per_second",
    "data_wait": "train/data_wait",
}


def is_installed() -> bool:
    """Tells whether the package that writes event files is there."""
    from importlib.util import find_spec

    return find_spec("tensorboardX") is not None


class EventFile:
    """Writes the event file of a run.

    Args:
        folder: where it stands; TensorBoard calls the run by this folder's name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def begin(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes the file anew, from all rows of `train.metrics` so far.

        Raises:
            MachineError: the folder cannot be written, the disk is full.
        """
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self.close()
        with os_errors_explained(self._folder):
            before = set(self._folder.glob(f"events.out.tfevents.*{_SUFFIX}"))
            # Within a second two names would be one, and a TensorBoard that watches would read on
            # in the middle of another file.
            suffix = f".{time.time_ns()}{_SUFFIX}"
            self._writer = EventsWriter(str(self._folder / "events"), suffix)
            mark = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(step=0, session_log=mark))
            for row in rows:
                self._write(row)
            self._writer.flush()
            for old in before:
                # Not deleted: a TensorBoard that watches would wait for it for ever, and not see
                # the new one.
                os.truncate(old, 0)

    def add(self, row: Mapping[str, Any]) -> None:
        """Writes the next row.

        Raises:
            MachineError: as `begin`.
        """
        with os_errors_explained(self._folder):
            if self._write(row):
                self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with os_errors_explained(self._folder):
                writer.close()

    def _write(self, row: Mapping[str, Any]) -> bool:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(row)]
        if values:
            event = Event(wall_time=row["time"], step=row["step"], summary=Summary(value=values))
            self._writer.write_event(event)
        return bool(values)


def scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yields tags and values of a row; what is not known is left out."""
    found: dict[str, float | None] = {}
    if row["event"] == "step":
        found = {tag: row.get(key) for key, tag in _OF_A_STEP.items()}
        # No speed is known of the first step.
        found["train/images_per_second"] = row["images_per_second"] or None
    elif row["event"] == "epoch":
        found = {"train/epoch_loss": row["loss"]}
    elif row["event"] == "score":
        of = "" if row["file"] == WEIGHTS_FILE else f"_{Path(row['file']).stem}"
        found = {
            f"select/top1{of}": row["correct1"] / row["count"],
            f"select/top5{of}": row["correct5"] / row["count"],
            f"select/loss{of}": row["loss"],
        }
    for tag, value in found.items():
        if value is not None and math.isfinite(value):
            yield tag, value
