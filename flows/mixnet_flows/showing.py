"""What a run shows: progress, curves, logs, report and release in Prefect's dashboard, a terminal.

None of it can fail a stage: a dashboard that is down for a minute must not cost hours of training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from mixnet_core.errors import MixnetError, Stopped
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.durations import duration, moment
from mixnet_core.runs.export_values import Exported
from mixnet_core.runs.summaries import summary
from mixnet_core.runs.terminal import TerminalWatch
from mixnet_core.runs.ticks import Tick, Watch
from mixnet_core.runs.values import Release, Value
from mixnet_core.stages.context import Context
from mixnet_core.storage.uris import shown_words
from mixnet_flows.artifacts import KeptArtifact, artifact_key, show_markdown, show_table, tried
from mixnet_flows.rank_logs import LogWatch

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


def shown(
    stage: str, context: Context, work: Callable[[Context], V], also: Sequence[View] = ()
) -> V:
    """Calls `work` with a context that shows its progress, then logs its result's summary.

    Where it fails, the last lines that its ranks wrote are shown.

    Args:
        also: what is shown besides.
    """
    logs = LogWatch(context.run, stage)
    try:
        return told(
            stage,
            context.run.name,
            lambda watch: work(context.watched_by(watch)),
            also=(logs, *also),
        )
    except MixnetError as error:
        logs.failed(str(error))
        raise


def told(stage: str, run: str, work: Callable[[Watch], V], also: Sequence[View] = ()) -> V:
    """Calls `work` with a `Watch`, then logs its result's summary.

    Args:
        run: a name, which the artifact's key begins with.
        also: what is shown besides.
    """
    terminal = _terminal.get()
    progress = Progress(stage, run, terminal, also)
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


class View(Protocol):
    """Shows something of a stage while it works, beside its progress."""

    def ticked(self, tick: Tick) -> bool:
        """Looks whether to show something now; returns False if the dashboard did not take it."""

    def ended(self) -> None:
        """Shows what there is at the end, whatever it is."""


class Progress:
    """A `Watch`: one progress artifact, milestones as log lines."""

    def __init__(
        self,
        stage: str,
        run: str,
        terminal: TerminalWatch | None = None,
        also: Sequence[View] = (),
    ) -> None:
        # An attempt after this one makes a bar of its own.
        self._bar = KeptArtifact("progress", artifact_key(run, stage))
        self._title = f"{stage} of {run}"
        self._terminal, self._also = terminal, also
        self._log = get_run_logger()
        self._percent = 0.0
        # When the bar may be written again, and from when on the server is asked anything at all.
        self._next = self._silent_until = 0.0

    def __call__(self, tick: Tick) -> None:
        if self._terminal is not None:
            self._terminal(tick)
        if tick.milestone:
            self._log.info("%s: %s", tick.stage, tick.detail)
        if time.monotonic() >= max(self._next, self._silent_until):
            self._update(100 * tick.share, f"{tick.detail}{_speed(tick)}{_end(tick)}")
        for view in self._also:
            # Of a server that is down, once is enough.
            if time.monotonic() >= self._silent_until:
                self._heard(view.ticked(tick))

    def finished(self, text: str) -> None:
        """Ends the bar of a stage that has one; what was done before gave no sign of life."""
        if self._bar.is_made:
            self._update(100.0, text)
            self._end()

    def stopped(self, text: str) -> None:
        """Leaves the bar where it is."""
        if self._bar.is_made:
            self._update(self._percent, text)
            self._end()

    def _end(self) -> None:
        for view in self._also:
            view.ended()

    def _update(self, percent: float, text: str) -> None:
        description = f"{self._title}: {text}" if text else self._title
        self._percent = percent
        self._heard(tried(lambda: self._bar.show(percent, description), at_once=True))
        self._next = time.monotonic() + _SECONDS_BETWEEN_UPDATES

    def _heard(self, answer: bool) -> None:
        if not answer:
            self._silent_until = time.monotonic() + _SECONDS_AFTER_A_FAILURE


def describe_flow_run(name: str, recipe: Recipe) -> None:
    """Names this flow run in the dashboard after the run that it works on, and tags it.

    Tags that somebody gave it stay. A tag is what the dashboard filters its lists by.
    """

    def describe() -> None:
        own = [f"recipe: {shown_words(recipe.name)}", f"variant: {recipe.network.variant}"]
        tags = dict.fromkeys((*flow_run.tags, *own))
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(flow_run.id), name=name, tags=list(tags))

    tried(describe)


def show_report(run: str, report: Path) -> None:
    """Shows the report as a markdown artifact."""
    show_markdown(artifact_key(run, "report"), report, f"Report of {run}")


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


def _speed(tick: Tick) -> str:
    return f", {tick.images_per_second:.0f} img/s" if tick.images_per_second else ""


def _end(tick: Tick) -> str:
    if tick.seconds_left is None or tick.share >= 1:
        return ""
    # Whoever looks hours later sees whether it still holds.
    now = time.time()
    end = moment(now + tick.seconds_left, now=now)
    return f", about {duration(tick.seconds_left)} left, until {end}"
