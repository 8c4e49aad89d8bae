"""Progress of a stage, for whoever watches: a terminal's bar, a flow's progress artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mixnet_core.runs.values import WEIGHTS_FILE
from mixnet_core.storage.mirror.mirror import Fetched, OnFetched


@dataclass(frozen=True)
class Tick:
    """Says how far a stage is.

    Attributes:
        stage: the one that works.
        done, total: in `unit`; total is None where it is not known.
        unit: "img" or "B".
        images_per_second: over all ranks, without compilation; None if it is not known yet.
        detail: a few words on what goes on.
        milestone: whether `detail` is worth a line of its own.
        routine: whether it is a milestone of which a long run has hundreds, as an epoch's end.
        seconds_left: until all is done, at the pace so far; None if it is not known.
    """

    stage: str
    done: int
    total: int | None
    unit: str
    images_per_second: float | None = None
    detail: str = ""
    milestone: bool = False
    routine: bool = False
    seconds_left: float | None = None

    @property
    def share(self) -> float:
        """Returns the share of the work that is done, in 0..1; 0 while the total is unknown."""
        return min(1.0, self.done / self.total) if self.total else 0.0


Watch = Callable[[Tick], None]


def unwatched(tick: Tick) -> None:
    """Does nothing: for callers that do not watch."""


def fetching_ticks(stage: str, watch: Watch) -> OnFetched:
    """Returns what turns steps of fetching data from a store into ticks."""

    def on_fetched(step: Fetched) -> None:
        detail = step.said or "from the store"
        total = step.total or None
        watch(Tick(stage, step.done, total, "B", detail=detail, milestone=bool(step.said)))

    return on_fetched


class TrainingTicks:
    """Turns rows of `train.metrics` into ticks."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._done = self._total = self._batch = 0
        self._epochs = 0
        self._first = ""
        self._speed: float | None = None
        # Step and time that the pace is measured from: the end of compilation.
        self._since: tuple[int, float] | None = None
        self._left: float | None = None
        self._scored = ""

    def __call__(self, row: dict[str, Any]) -> None:
        event = row["event"]
        self._left = self._seconds_left(row)
        if event == "start":
            self._since = self._left = None
            self._batch = row["images_per_step"]
            self._total = row["steps"] * self._batch
            self._epochs = row["epochs"]
            self._first = "first step" if row["compiled"] else "compiled"
            begin = "reading the compiled graph" if row["compiled"] else "compiling"
            if row["step"]:
                begin = f"resuming after step {row['step']}, {begin}"
            ranks = f"{row['ranks']} rank{'s' if row['ranks'] > 1 else ''}"
            self._tick(row, f"{begin}, {ranks}", milestone=True)
            if row["changes"]:
                changes = ", ".join(row["changes"])
                text = f"otherwise than before: {changes}; not bit for bit what it would have been"
                self._tick(row, text, milestone=True)
        elif event == "compiled":
            self._since = (row["step"], row["time"]) if "time" in row else None
            self._tick(row, f"{self._first} in {row['seconds']:.0f} s", milestone=True)
        elif event == "step":
            self._speed = row["images_per_second"] or None
            loss = "all steps dropped" if row["loss"] is None else f"loss {row['loss']:.3f}"
            self._tick(row, f"epoch {row['epoch']}/{self._epochs}, {loss}{self._scored}")
        elif event == "epoch":
            text = f"epoch {row['epoch']}/{self._epochs} done, mean loss {row['loss']:.3f}"
            if row["unreadable"]:
                text += f", {row['unreadable']} unreadable images so far"
            self._tick(row, text, milestone=True, routine=True)
        elif event == "score":
            top1 = f"select top-1 {100 * row['correct1'] / row['count']:.2f} %"
            averages = " of the moving averages" if row["file"] != WEIGHTS_FILE else ""
            self._scored = f", {top1}{averages}"
            text = f"epoch {row['epoch']}/{self._epochs}{self._scored}"
            self._tick(row, text, milestone=True, routine=True)

    def say(self, detail: str) -> None:
        """Tells a milestone that is in no row, such as one between two attempts."""
        total = self._total or None
        self._watch(Tick("train", self._done, total, "img", None, detail, milestone=True))

    def _seconds_left(self, row: dict[str, Any]) -> float | None:
        """Returns how long the rest takes as all so far did, scoring and checkpoints included."""
        if self._since is None or "time" not in row or not self._batch:
            return None
        step, time = self._since
        if row["step"] <= step or row["time"] <= time:
            return self._left
        steps_left = self._total // self._batch - row["step"]
        return max(0.0, steps_left * (row["time"] - time) / (row["step"] - step))

    def _tick(
        self, row: dict[str, Any], detail: str, *, milestone: bool = False, routine: bool = False
    ) -> None:
        self._done = row["step"] * self._batch
        self._watch(
            Tick(
                "train",
                self._done,
                self._total,
                "img",
                self._speed,
                detail,
                milestone,
                routine,
                self._left,
            )
        )


class EvaluationTicks:
    """Turns rows of `evaluate.scoring` into ticks."""

    def __init__(self, stage: str, watch: Watch) -> None:
        self._stage, self._watch = stage, watch

    def __call__(self, row: dict[str, Any]) -> None:
        done = row["checkpoint"] * row["images"] + row["done"]
        detail = f"checkpoint {row['checkpoint'] + 1}/{row['checkpoints']}"
        total = row["checkpoints"] * row["images"]
        self._watch(Tick(self._stage, done, total, "img", None, detail))
