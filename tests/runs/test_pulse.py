"""A sign of life is a number that grows; who watches counts by its own clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.errors import MachineError
from mixnet_core.runs.pulse import Pulse, PulseWatch, read_pulse
from tests.marked import wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_beats_for_as_long_as_the_block_runs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "pulse-0"
    watch = PulseWatch(path)
    with Pulse(path, seconds=0.02):
        wait_until(lambda: (read_pulse(path) or 0) >= 3, "three beats", seconds=10)
        assert watch.silent() == 0.0
    last = read_pulse(path)
    wait_until(lambda: watch.silent() > 0.1, "silence", seconds=10)
    assert read_pulse(path) == last
    # One that is started anew goes on counting: an equal number would be silence.
    with Pulse(path, seconds=60):
        assert read_pulse(path) == (last or 0) + 1
        assert watch.silent() == 0.0
        assert watch.has_grown


def test_silence_is_counted_by_looks_of_the_watchers_clock(tmp_path: Path) -> None:
    path, clock = tmp_path / "pulse-1", Clock()
    path.write_text("7\n")
    watch = PulseWatch(path, clock)
    clock.now += 3
    assert (watch.silent(), watch.has_grown) == (3.0, False)
    clock.now += 4
    assert watch.silent() == 7.0
    # Nobody looked for an hour, as on a suspended machine.
    clock.now += 3600
    assert watch.silent() == 12.0
    path.write_text("8\n")
    assert (watch.silent(), watch.has_grown) == (0.0, True)


def test_a_number_that_appears_is_no_growth_yet(tmp_path: Path) -> None:
    path = tmp_path / "pulse-1"
    watch = PulseWatch(path)
    # Of a process that has ended, it may only show late.
    path.write_text("7\n")
    assert (watch.silent(), watch.has_grown) == (0.0, False)
    path.write_text("8\n")
    watch.silent()
    assert watch.has_grown


@pytest.mark.parametrize("content", ["", "x", "-"])
def test_what_is_no_number_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "pulse").write_text(content)
    assert read_pulse(tmp_path / "pulse") is None
    assert read_pulse(tmp_path / "none") is None


def test_a_file_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot write"), Pulse(tmp_path / "file" / "pulse-0"):
        pass
