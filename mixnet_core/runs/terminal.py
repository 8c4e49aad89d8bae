"""Ticks in a terminal, as bars; where there is none, milestones as plain lines."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mixnet_core.runs.ticks import Tick


class TerminalWatch:
    """Shows one bar per stage on standard error: what is done, img/s and the time left.

    It is a `Watch`.
    Use it as a context, so that a bar does not stay behind on an error.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(24),
            TextColumn("{task.fields[amount]}"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[detail]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal or quiet,
        )

    def __call__(self, tick: Tick) -> None:
        if tick.milestone:
            self.line(tick.stage, tick.detail)
        if self._progress.disable:
            return
        if tick.stage not in self._bars:
            self._bars[tick.stage] = self._progress.add_task(
                tick.stage, amount="", speed="", detail=""
            )
        self._progress.update(
            self._bars[tick.stage],
            completed=tick.done,
            total=tick.total,
            amount=_amount(tick),
            speed=f"{tick.images_per_second:.0f} img/s" if tick.images_per_second else "",
            detail=tick.detail,
        )

    def line(self, stage: str, text: str) -> None:
        """Prints a line that stays, above the bars."""
        self.console.print(f"{stage:<8} {text}", markup=False, soft_wrap=True)

    def finished(self, stage: str, text: str) -> None:
        """Replaces the stage's bar by its result."""
        bar = self._bars.pop(stage, None)
        if bar is not None:
            self._progress.remove_task(bar)
        self.line(stage, text)

    def __enter__(self) -> TerminalWatch:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._progress.stop()


def _amount(tick: Tick) -> str:
    if tick.unit == "B":
        done = f"{tick.done / 1e6:.1f}"
        return f"{done}/{tick.total / 1e6:.1f} MB" if tick.total else f"{done} MB"
    return f"{tick.done:,}/{tick.total:,} {tick.unit}" if tick.total else f"{tick.done:,}"
