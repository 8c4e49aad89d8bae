"""What the rows of a training say of it now, as figures: for tables, pages and who scrapes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mixnet_core.runs.values import WEIGHTS_FILE


@dataclass(frozen=True)
class Figures:
    """Holds the newest figures of a training; None where no row says one.

    Attributes:
        step, steps: optimizer steps done, and of the whole training.
        epoch, epochs: epochs done, and of the whole training.
        ranks: of the newest attempt.
        loss: rank 0's mean since the logged step before.
        epoch_loss: the mean of the newest whole epoch.
        lr: the learning rate of the newest logged step.
        images_per_second: over all ranks.
        data_wait: share of the time, in 0..1, in which rank 0 waited for its images.
        best_top1: the best share on the select split, and the epoch that had it: of the weights as
            trained, where they were scored in training.
        time: of the newest row, in seconds since 1970.
    """

    step: int | None = None
    steps: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    ranks: int | None = None
    loss: float | None = None
    epoch_loss: float | None = None
    lr: float | None = None
    images_per_second: float | None = None
    data_wait: float | None = None
    best_top1: float | None = None
    best_epoch: int | None = None
    time: float | None = None


class Reckoning:
    """Keeps the figures up to date, row by row."""

    def __init__(self, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        self._values: dict[str, Any] = {}
        for row in rows:
            self.add(row)

    @property
    def figures(self) -> Figures:
        """Returns the figures after all rows so far; what is no number is not known."""
        return Figures(**{key: _known(value) for key, value in self._values.items()})

    def add(self, row: Mapping[str, Any]) -> None:
        """Takes the next row of `train.metrics`."""
        event, values = row["event"], self._values
        values["step"] = row["step"]
        if "time" in row:
            values["time"] = row["time"]
        if event == "start":
            values |= {key: row[key] for key in ("steps", "epochs", "ranks")}
            # An attempt that compiles or hangs is not as fast as the one before was.
            values |= {"images_per_second": None, "data_wait": None}
            values.setdefault("epoch", 0)
        elif event == "step":
            values |= {"loss": row["loss"], "lr": row["lr"], "data_wait": row.get("data_wait")}
            values["images_per_second"] = row["images_per_second"] or None
        elif event == "epoch":
            values |= {"epoch": row["epoch"], "epoch_loss": row["loss"]}
        elif event == "score" and row["file"] == WEIGHTS_FILE:
            top1 = row["correct1"] / row["count"]
            if values.get("best_top1") is None or top1 > values["best_top1"]:
                values |= {"best_top1": top1, "best_epoch": row["epoch"]}


def _known(value: Any) -> Any:
    """Returns a value that JSON has, too: None for what is no finite number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def figures_of(rows: Sequence[Mapping[str, Any]]) -> Figures:
    """Returns the figures of all rows of `train.metrics`."""
    return Reckoning(rows).figures
