"""What a run shows: progress, report and release in Prefect's dashboard, bars in a terminal.

None of it can fail a stage: a dashboard that is down for a minute must not cost hours of training.
The dashboard takes descriptions and tables' cells for Markdown; the functions here take plain text.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from mixnet_core.errors import MixnetError, Stopped
from mixnet_core.evaluate.report.plots import curves_png
from mixnet_core.runs.export_values import Exported
from mixnet_core.runs.markup import in_markdown
from mixnet_core.runs.summaries import summary
from mixnet_core.runs.terminal import TerminalWatch
from mixnet_core.runs.ticks import Tick, Watch
from mixnet_core.runs.values import Release, Value
from mixnet_core.stages.context import Context
from mixnet_core.storage.files import read_json

# A request takes about 10 ms, and a person reads no faster.
_SECONDS_BETWEEN_UPDATES = 1.0
# The client repeats a request that found no server, during which the stage's rows are not read.
_SECONDS_AFTER_A_FAILURE = 60.0

V = TypeVar("V", bound=Value | None)

_terminal: ContextVar[TerminalWatch | None] = ContextVar("terminal", default=None)


@contextmanager
def in_terminal(watch: TerminalWatch) -> Iterator[None]:
    """Flows called in this block show their stages in a terminal too."""
    token = _terminal.set(watch)
    try:
        yield
    finally:
        _terminal.reset(token)


def shown(stage: str, context: Context, work: Callable[[Context], V]) -> V:
    """Calls `work` with a context that shows its progress, then logs its result's summary."""
    return told(stage, context.run.name, lambda watch: work(context.watched_by(watch)))


def told(stage: str, run: str, work: Callable[[Watch], V]) -> V:
    """Calls `work` with a `Watch`, then logs its result's summary.

    Args:
        run: a name, which the artifact's key begins with.
    """
    terminal = _terminal.get()
    progress = Progress(stage, run, terminal)
    try:
        result = work(progress)
    except MixnetError as error:
        progress.stopped(f"stopped, {error}")
        if terminal is not None and error.retryable:
            # Prefect's own line about the retry is not printed where a terminal shows the run.
            terminal.line(stage, f"failed, to be tried again: {error}")
        raise
    except BaseException as interruption:
        # A cancel, or SIGTERM: what is shown in the dashboard may cost time that there is not.
        if isinstance(interruption.__cause__, Stopped):
            get_run_logger().warning("%s: %s", stage, interruption.__cause__)
        raise
    text = summary(result)
    progress.finished(text)
    if terminal is not None:
        terminal.finished(stage, text)
    get_run_logger().info("%s: %s", stage, text)
    return result


class Progress:
    """A `Watch`: one progress artifact, milestones as log lines."""

    def __init__(self, stage: str, run: str, terminal: TerminalWatch | None = None) -> None:
        self._key = artifact_key(run, stage)
        self._title = f"{stage} of {run}"
        self._terminal = terminal
        self._log = get_run_logger()
        self._artifact: UUID | None = None
        self._percent = 0.0
        self._next = 0.0

    def __call__(self, tick: Tick) -> None:
        if self._terminal is not None:
            self._terminal(tick)
        if tick.milestone:
            self._log.info("%s: %s", tick.stage, tick.detail)
        if time.monotonic() >= self._next:
            speed = f", {tick.images_per_second:.0f} img/s" if tick.images_per_second else ""
            self._update(100 * tick.share, f"{tick.detail}{speed}")

    def finished(self, text: str) -> None:
        """Ends the bar of a stage that has one; what was done before gave no sign of life."""
        if self._artifact is not None:
            self._update(100.0, text)

    def stopped(self, text: str) -> None:
        """Leaves the bar where it is; an attempt after this one makes a bar of its own."""
        if self._artifact is not None:
            self._update(self._percent, text)

    def _update(self, percent: float, text: str) -> None:
        description = in_markdown(f"{self._title}: {text}" if text else self._title)
        self._percent = percent
        wait = _SECONDS_BETWEEN_UPDATES
        try:
            if self._artifact is None:
                created = create_progress_artifact(percent, self._key, description)
                assert isinstance(created, UUID)
                self._artifact = created
            else:
                update_progress_artifact(self._artifact, percent, description)
        except Exception as error:
            self._log.warning("no progress shown: %s", _one_line(error))
            wait = _SECONDS_AFTER_A_FAILURE
        self._next = time.monotonic() + wait


def name_flow_run(name: str) -> None:
    """Names this flow run in the dashboard after the run that it works on."""

    def rename() -> None:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(flow_run.id), name=name)

    _show(rename)


def show_report(run: str, report: Path) -> None:
    """Shows the report as a markdown artifact."""
    show_markdown(artifact_key(run, "report"), report, f"Report of {run}")


def show_markdown(key: str, file: Path, description: str) -> None:
    """Shows a file's text as a markdown artifact."""
    text = in_markdown(description)
    _show(lambda: create_markdown_artifact(file.read_text(encoding="utf-8"), key, text))


def show_curves(run: str, report: Path) -> None:
    """Shows the report's training curves as an image artifact."""
    show_image(
        artifact_key(run, "curves"),
        lambda: curves_png(read_json(report)["curves"]),
        f"How {run} trained",
    )


def show_image(key: str, png: Callable[[], bytes], description: str) -> None:
    """Shows a PNG as an image artifact that needs no other server."""

    def create() -> None:
        uri = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
        create_image_artifact(uri, key, in_markdown(description))

    _show(create)


def show_exports(run: str, exported: Exported) -> None:
    """Shows what was proven of each exported format as a table artifact."""
    rows = [
        {
            "format": proof.format,
            "state": proof.state,
            "images": proof.images,
            "other top-1": proof.differing,
            "largest logit difference": proof.largest_difference,
            "img/s": proof.images_per_second,
            "by": proof.runtime,
            "why not": proof.reason,
        }
        for proof in exported.proofs
    ]
    show_table(artifact_key(run, "exports"), rows, f"Exports of {run}")


def show_release(run: str, release: Release) -> None:
    """Shows the release's address and files as a table artifact."""
    rows = [{"role": role, "file": name} for role, name in sorted(release.files.items())]
    show_table(artifact_key(run, "release"), rows, f"Release {release.name} at {release.uri}")


def show_table(key: str, rows: list[dict[str, Any]], description: str) -> None:
    """Shows rows as a table artifact."""
    plain = [
        {name: in_markdown(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
        for row in rows
    ]
    _show(lambda: create_table_artifact(plain, key, in_markdown(description)))


def artifact_key(run: str, what: str) -> str:
    """Returns a key as Prefect wants it, of a-z 0-9 -; equal keys share a history."""
    return re.sub(r"[^a-z0-9-]", "-", f"{run}-{what}")


def _show(create: Callable[[], object]) -> None:
    try:
        create()
    except Exception as error:
        get_run_logger().warning("the dashboard lacks something: %s", _one_line(error))


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())
