"""What finds the disk full waits for room, alive, and says so to whoever looks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mixnet_core.errors import MachineError
from mixnet_core.processes import child, full_disk
from mixnet_core.processes.full_disk import full_file, until_room
from mixnet_core.stages.room import RoomNotice
from mixnet_core.storage.files import os_errors_explained, write_text
from tests.slow_job import STALL_SECONDS, SlowJob
from tests.small_disk import fill, small_disk


@pytest.fixture
def waiting(slow_job: SlowJob, monkeypatch: pytest.MonkeyPatch) -> SlowJob:
    """The watched job, in whose time until_room waits."""
    clock = SimpleNamespace(sleep=slow_job.takes, monotonic=lambda: slow_job.seconds)
    monkeypatch.setattr(full_disk, "time", clock)
    child.beat()
    child.beat()
    return slow_job


def failing(times: int, number: int = errno.ENOSPC) -> Callable[[], str]:
    left = iter(range(times))

    def write() -> str:
        if next(left, None) is not None:
            with os_errors_explained("there"):
                raise OSError(number, os.strerror(number))
        return "written"

    return write


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_it_waits_for_longer_than_a_hang_and_is_none(number: int, waiting: SlowJob) -> None:
    assert until_room(failing(11, number), 1000.0) == "written"
    assert waiting.seconds > 10 * STALL_SECONDS
    assert not (waiting.attempt / full_file("0")).exists()


def test_after_the_stated_time_it_raises_what_it_met(waiting: SlowJob) -> None:
    with pytest.raises(MachineError, match="cannot write there: No space left on device; free"):
        until_room(failing(1000), 60.0)
    assert waiting.seconds == pytest.approx(60.0, abs=1.0)
    assert not (waiting.attempt / full_file("0")).exists()


def test_a_time_of_0_and_another_error_do_not_wait(waiting: SlowJob) -> None:
    with pytest.raises(MachineError, match="No space left"):
        until_room(failing(1), 0.0)
    with pytest.raises(MachineError, match="Read-only file system"):
        until_room(failing(1, errno.EROFS), 1000.0)
    assert waiting.seconds == 0.0


def test_a_real_disk_that_gets_room_again_is_written_to(
    tmp_path: Path, waiting: SlowJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        filler = fill(disk)

        def takes(seconds: float) -> None:
            waiting.takes(seconds)
            if waiting.seconds > 20:
                filler.unlink(missing_ok=True)

        monkeypatch.setattr(full_disk.time, "sleep", takes)  # type: ignore[attr-defined]
        until_room(lambda: write_text(disk / "text", "x" * 8000), 100.0)
        assert (disk / "text").stat().st_size == 8000


def test_the_notice_says_it_once_then_seldom_and_when_there_is_room_again(tmp_path: Path) -> None:
    said: list[str] = []
    now = [0.0]
    notice = RoomNotice(tmp_path, 1800.0, said.append, clock=lambda: now[0])

    def look(seconds: int) -> None:
        for _ in range(seconds):
            now[0] += 1
            notice(tmp_path)

    look(10)
    assert said == []
    (tmp_path / full_file("0")).touch()
    look(1500)
    assert len(said) == 3
    assert said[0].startswith(f"the disk of {tmp_path} is full, ")
    assert said[0].endswith("left: free space; a checkpoint waits for it, 30 min at most")
    assert "is full for 10 min so far" in said[1]
    (tmp_path / full_file("0")).unlink()
    look(1000)
    assert said[3:] == ["there is room again after 25 min, going on"]


def test_the_mark_of_a_killed_attempt_does_not_make_room_for_the_next_one(tmp_path: Path) -> None:
    said: list[str] = []
    notice = RoomNotice(tmp_path, 1800.0, said.append)
    killed, following = tmp_path / "attempt-001", tmp_path / "attempt-002"
    for attempt in (killed, following):
        attempt.mkdir()
    (killed / full_file("0")).touch()
    notice(killed)
    notice(following)
    assert len(said) == 1
    (following / full_file("0")).touch()
    notice(following)
    (following / full_file("0")).unlink()
    notice(following)
    assert [line.partition(" ")[0] for line in said] == ["the", "the", "there"]
