"""What other programs read of a training: TensorBoard's event file and a text for Prometheus.

Both are views of metrics.jsonl, written beside it by the process that watches the ranks, not by a
rank. What fails of them is a warning: no training ends because somebody cannot look at it. What
finds the disk full is written anew once there is room.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol

from mixnet_core.errors import MixnetError
from mixnet_core.processes.rank_logs import newest_attempt
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.storage.files import lacks_room, write_text
from mixnet_core.train.event_file import EventFile, is_installed
from mixnet_core.train.figures import Figures, Reckoning
from mixnet_core.train.metrics import read_metrics
from mixnet_core.train.prometheus import RunFigures, prometheus_text

# A scraper comes every 15 s.
_SECONDS_BETWEEN_TEXTS = 5.0
# All rows are read for each.
_SECONDS_BETWEEN_TRIES = 30.0

Rows = list[dict[str, Any]]

log = logging.getLogger(__name__)


class View(Protocol):
    """Writes rows in another form."""

    def begin(self, rows: Rows) -> None:
        """Begins anew with all rows of a run, the newest of them an attempt's start."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Takes the next row."""

    def close(self) -> None:
        """Takes no more rows."""


class Recorder:
    """Takes each new row of a run's metrics, as a context, and writes the views of them.

    Args:
        run: whose metrics the rows are of.
        then: is called with each row first.
    """

    def __init__(self, recipe: Recipe, run: RunDir, then: Callable[[dict[str, Any]], None]) -> None:
        self._run, self._then = run, then
        self._views: list[View] = [TextFile(recipe, run)]
        if is_installed():
            self._views.append(EventFile(run.root))
        # Those that found no room, and when they are tried again.
        self._behind: set[View] = set()
        self._next_try = 0.0

    def __call__(self, row: dict[str, Any]) -> None:
        self._then(row)
        begins = row["event"] == "start"
        abreast = [] if begins else [view for view in self._views if view not in self._behind]
        self._each(lambda view: view.add(row), abreast)
        if begins or (self._behind and time.monotonic() >= self._next_try):
            rows = _until(row, read_metrics(self._run.metrics))
            self._each(lambda view: view.begin(rows), self._views if begins else self._behind)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._behind:
            rows = read_metrics(self._run.metrics)
            self._each(lambda view: view.begin(rows), self._behind)
        self._each(lambda view: view.close(), self._views)

    def _each(self, call: Callable[[View], None], views: Collection[View]) -> None:
        for view in tuple(views):
            try:
                call(view)
                self._behind.discard(view)
            except Exception as error:
                # A package that changed is no reason either.
                said = error if isinstance(error, MixnetError) else repr(error)
                name = type(view).__name__
                if not lacks_room(error):
                    log.warning("%s is not written any more: %s", name, said)
                    self._views.remove(view)
                    self._behind.discard(view)
                    continue
                if view not in self._behind:
                    log.warning("%s is written again once there is room: %s", name, said)
                self._behind.add(view)
                self._next_try = time.monotonic() + _SECONDS_BETWEEN_TRIES


class TextFile:
    """Writes the figures of a run as `train.prometheus` has them, renamed into place."""

    def __init__(self, recipe: Recipe, run: RunDir) -> None:
        self._recipe, self._run = recipe, run
        self._reckoning: Reckoning | None = None
        self._next = 0.0

    def begin(self, rows: Rows) -> None:
        """Writes what the rows say.

        Raises:
            MachineError: the disk is full or not writable.
        """
        self._reckoning = Reckoning(rows)
        self._write(at_work=True)

    def add(self, row: Mapping[str, Any]) -> None:
        """Takes the next row, and writes what there is if that is due.

        Raises:
            MachineError: as `begin`.
        """
        if self._reckoning is not None:
            self._reckoning.add(row)
            if row["event"] == "epoch" or time.monotonic() >= self._next:
                self._write(at_work=True)

    def close(self) -> None:
        """Writes that nothing works on the run's training any more.

        Raises:
            MachineError: as `begin`.
        """
        if self._reckoning is not None:
            self._write(at_work=False)

    def _write(self, *, at_work: bool) -> None:
        assert self._reckoning is not None
        figures = self._reckoning.figures
        told = run_figures(self._run, self._recipe, figures, at_work=at_work)
        write_text(self._run.prometheus, prometheus_text([told]))
        self._next = time.monotonic() + _SECONDS_BETWEEN_TEXTS


def run_figures(
    run: RunDir,
    recipe: Recipe | None,
    figures: Figures,
    *,
    at_work: bool,
    val_top1: float | None = None,
) -> RunFigures:
    """Returns what is told of a run: its figures, restarts and last sign of life.

    Args:
        recipe: None where it cannot be read.
    """
    newest = newest_attempt(run.attempts("train"))
    signs = [] if figures.time is None else [figures.time]
    if newest is not None:
        for alive in newest.glob("alive-*"):
            with suppress(OSError):
                signs.append(alive.stat().st_mtime)
    return RunFigures(
        run=run.name,
        recipe=recipe.name if recipe else "",
        variant=recipe.network.variant if recipe else "",
        at_work=at_work,
        figures=figures,
        restarts=int(newest.name.rpartition("-")[2]) - 1 if newest is not None else None,
        last_sign=max(signs, default=None),
        val_top1=val_top1,
    )


def _until(row: Mapping[str, Any], rows: Rows) -> Rows:
    """Returns the rows up to one; those after it are told one by one."""
    return rows[: rows.index(dict(row)) + 1] if row in rows else rows
