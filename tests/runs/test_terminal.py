"""Progress as people see it: one line that lives in a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import re

import pytest

from mixnet_core.runs.terminal import TerminalWatch
from mixnet_core.runs.ticks import Tick, TrainingTicks
from tests.stages.trained_runs import metric_rows


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, width: int = 100) -> str:
    """What a training of three epochs writes there."""
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(width))
    for variable in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)
    with TerminalWatch() as watch:
        ticks = TrainingTicks(watch)
        for row in metric_rows(3):
            ticks(row)
            # Instead of ten times a second.
            watch._progress.refresh()
        watch.finished("train", "3 epochs")
    return stream.getvalue()


def lines(text: str) -> list[str]:
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return [part.rstrip() for part in re.split(r"[\r\n]", plain) if part.strip()]


def test_in_a_terminal_epochs_are_told_in_one_line_and_do_not_scroll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = written(monkeypatch, Terminal())
    stay = [part.strip() for part in lines(text) if not re.search("[\u2500-\u257f]", part)]
    assert stay == ["train    compiling, 2 ranks", "train    compiled in 9 s", "train    3 epochs"]
    lives = [part for part in lines(text) if "epoch 3/10" in part]
    # The newest score stays in sight.
    assert "96/320 img" in lives[-1]
    assert "left" in lives[-1]
    assert "select top-1" in lives[-1]
    # What is drawn anew takes the place of the one before; only what stays moves on.
    assert text.count("\n") <= len(stay) + 1


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_narrow_terminal_it_is_one_line_too(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = written(monkeypatch, Terminal(), width)
    assert text.count("\n") <= 4
    assert max(len(part) for part in lines(text)) <= width


def test_elsewhere_every_milestone_is_a_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = written(monkeypatch, io.StringIO())
    assert "\x1b" not in text
    assert "\r" not in text
    found = text.splitlines()
    assert len(found) == 2 + 3 * 3 + 1
    assert found[2].startswith("train    epoch 1/10 done, mean loss")


def test_words_of_others_move_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    with TerminalWatch() as watch:
        watch(Tick("fetch", 1, 2, "B", detail="[red]x[/red] \x1b[2J"))
        watch._progress.refresh()
    assert "[red]x[/red] \\x1b[2J" in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()
