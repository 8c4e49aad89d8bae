"""Ticks in a terminal, as one line that lives; where there is none, milestones as plain lines."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from mixnet_core.runs.durations import duration
from mixnet_core.runs.markup import visible
from mixnet_core.runs.ticks import Tick


class TerminalWatch:
    """Shows one line per stage on standard error: what is done, img/s, the time left, what goes on.

    Routine milestones, as the ends of hundreds of epochs, are in that line only; other ones stay
    above it. It is a `Watch`.
    Use it as a context, so that a line does not stay behind on an error.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(12),
            # Whole on a narrow terminal; the words behind them are cut.
            TextColumn("{task.fields[amount]}", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[speed]}", table_column=Column(no_wrap=True)),
            _Left(compact=True, table_column=Column(no_wrap=True)),
            _Detail(table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=self.console,
            expand=True,
            transient=True,
            disable=not self.console.is_terminal or quiet,
        )

    def __call__(self, tick: Tick) -> None:
        is_live = not self._progress.disable
        if tick.milestone and not (tick.routine and is_live):
            self.line(tick.stage, tick.detail)
        if not is_live:
            return
        if tick.stage not in self._bars:
            self._bars[tick.stage] = self._progress.add_task(
                tick.stage, amount="", speed="", detail="", left=None
            )
        self._progress.update(
            self._bars[tick.stage],
            completed=tick.done,
            total=tick.total,
            amount=_amount(tick),
            speed=f"{tick.images_per_second:.0f} img/s" if tick.images_per_second else "",
            detail=tick.detail,
            left=tick.seconds_left,
        )

    def line(self, stage: str, text: str) -> None:
        """Prints a line that stays, above the bars."""
        self.console.print(f"{stage:<8} {visible(text)}", markup=False, soft_wrap=True)

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


class _Left(TimeRemainingColumn):
    """Shows the time that a stage says is left; of one that says none, what the bar makes of it."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        return super().render(task) if left is None else Text(f"{duration(left)} left")


class _Detail(TextColumn):
    """Shows words of others as they are."""

    def __init__(self, table_column: Column) -> None:
        super().__init__("", table_column=table_column)

    def render(self, task: Task) -> Text:
        return Text(visible(task.fields["detail"]))


def _amount(tick: Tick) -> str:
    if tick.unit == "B":
        done = f"{tick.done / 1e6:.1f}"
        return f"{done}/{tick.total / 1e6:.1f} MB" if tick.total else f"{done} MB"
    return f"{tick.done:,}/{tick.total:,} {tick.unit}" if tick.total else f"{tick.done:,}"
