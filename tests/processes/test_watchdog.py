"""Patience in a time of its own: what does not count as the ranks' silence."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mixnet_core.processes import child
from mixnet_core.processes.watchdog import Patience, Watchdog
from mixnet_core.storage import files
from mixnet_core.storage.files import write_json
from tests.slow_job import NEARLY, STALL_SECONDS, Killed, SlowJob


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def watching(attempt: Path, time: Time, ranks: int = 2) -> Watchdog:
    """Both ranks are this process, which lives."""
    for rank in range(ranks):
        write_json(attempt / child.process_file(str(rank)), os.getpid())
    return Watchdog(attempt, ranks, Patience(first_seconds=100, stall_seconds=10), clock=time)


def sign(attempt: Path, rank: int, at: float) -> None:
    """A beat with the wall clock at `at`."""
    alive = attempt / child.alive_file(str(rank))
    alive.touch()
    os.utime(alive, (at, at))


def looks(dog: Watchdog, time: Time, seconds: float) -> str | None:
    """Of a caller that looks twice a second; the last answer."""
    answer = None
    for _ in range(int(2 * seconds)):
        time.now += 0.5
        answer = dog.look()
        if answer:
            break
    return answer


def begun(attempt: Path, time: Time) -> Watchdog:
    dog = watching(attempt, time)
    for rank in range(2):
        sign(attempt, rank, 5000.0)
    assert looks(dog, time, 1) is None
    return dog


def test_compiling_may_take_longer_than_a_step(tmp_path: Path, time: Time) -> None:
    dog = watching(tmp_path, time)
    assert looks(dog, time, 99) is None
    answer = looks(dog, time, 2)
    assert answer is not None
    assert answer.startswith("no first step within 100 s")


def test_a_sign_before_the_first_step_does_not_shorten_the_time_to_compile(
    tmp_path: Path, time: Time
) -> None:
    dog = watching(tmp_path, time)
    for rank in range(2):
        sign(tmp_path, rank, child.FIRST_BEAT)
    assert looks(dog, time, 50) is None


def test_a_rank_that_takes_its_first_step_early_may_wait_for_the_others(
    tmp_path: Path, time: Time
) -> None:
    dog = watching(tmp_path, time)
    sign(tmp_path, 0, 1.0)
    assert looks(dog, time, 50) is None
    sign(tmp_path, 1, 2.0)
    assert looks(dog, time, 9) is None
    assert looks(dog, time, 2) is not None


def test_one_silent_rank_is_enough_and_is_named(tmp_path: Path, time: Time) -> None:
    dog = begun(tmp_path, time)
    for step in range(8):
        sign(tmp_path, 0, 6000.0 + step)
        assert looks(dog, time, 1) is None
    assert (
        looks(dog, time, 4) == "no progress for 10 s (rank 1 is silent for longer than the others)"
    )


def test_steps_of_the_wall_clock_are_signs_of_life_as_any_other(tmp_path: Path, time: Time) -> None:
    dog = begun(tmp_path, time)
    for at in (9e8, 10.0, 4e8):
        assert looks(dog, time, 8) is None
        for rank in range(2):
            sign(tmp_path, rank, at)
        assert looks(dog, time, 1) is None


def test_time_in_which_nobody_looked_does_not_count(tmp_path: Path, time: Time) -> None:
    dog = begun(tmp_path, time)
    time.now += 8 * 3600
    assert dog.look() is None
    for rank in range(2):
        sign(tmp_path, rank, 7000.0)
    assert looks(dog, time, 9) is None
    assert looks(dog, time, 2) == "no progress for 10 s (all ranks are silent)"


def test_without_patience_nothing_is_ever_wrong(tmp_path: Path, time: Time) -> None:
    dog = Watchdog(tmp_path, 2, None, clock=time)
    assert looks(dog, time, 10000) is None


def mark(attempt: Path, file: str, *, off: bool = False) -> None:
    (attempt / file).unlink() if off else (attempt / file).touch()


def test_a_long_stretch_has_the_time_of_a_first_step_and_no_more(
    tmp_path: Path, time: Time
) -> None:
    dog = begun(tmp_path, time)
    for rank in range(2):
        mark(tmp_path, child.long_file(str(rank)))
    assert looks(dog, time, 99) is None
    answer = looks(dog, time, 2)
    assert answer is not None
    assert answer.startswith("no progress for 100 s")


def test_after_a_long_stretch_the_shorter_time_begins_anew(tmp_path: Path, time: Time) -> None:
    dog = begun(tmp_path, time)
    for rank in range(2):
        mark(tmp_path, child.long_file(str(rank)))
    assert looks(dog, time, 50) is None
    for rank in range(2):
        mark(tmp_path, child.long_file(str(rank)), off=True)
    assert looks(dog, time, 9) is None
    assert looks(dog, time, 2) == "no progress for 10 s (all ranks are silent)"


@pytest.mark.parametrize("name", [child.long_file, child.awaited_file])
def test_a_rank_that_others_wait_for_is_the_only_one_to_give_signs(
    tmp_path: Path, time: Time, name: Callable[[str], str]
) -> None:
    dog = begun(tmp_path, time)
    mark(tmp_path, name("0"))
    for step in range(12):
        sign(tmp_path, 0, 6000.0 + step)
        assert looks(dog, time, 5) is None
    mark(tmp_path, name("0"), off=True)
    for step in range(8):
        sign(tmp_path, 0, 7000.0 + step)
        assert looks(dog, time, 1) is None
    # The other one is expected to go on from there.
    assert looks(dog, time, 4) is not None


def test_a_rank_that_others_wait_for_and_that_gives_no_sign_hangs(
    tmp_path: Path, time: Time
) -> None:
    dog = begun(tmp_path, time)
    mark(tmp_path, child.awaited_file("0"))
    answer = None
    for step in range(12):
        sign(tmp_path, 1, 6000.0 + step)
        answer = answer or looks(dog, time, 1)
    assert answer == "no progress for 10 s (rank 0 is silent for longer than the others)"


def test_a_mark_of_a_rank_that_has_ended_gives_nobody_time(tmp_path: Path, time: Time) -> None:
    dog = begun(tmp_path, time)
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    dog._known[0].pid = ended.pid
    mark(tmp_path, child.long_file("0"))
    assert looks(dog, time, 9) is None
    assert looks(dog, time, 4) is not None


def test_a_rank_that_ended_early_does_not_count_as_one_that_never_began(
    tmp_path: Path, time: Time
) -> None:
    dog = watching(tmp_path, time)
    sign(tmp_path, 1, child.FIRST_BEAT)
    assert looks(dog, time, 1) is None
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    dog._known[1].pid = ended.pid
    for step in range(150):
        sign(tmp_path, 0, 6000.0 + step)
        assert looks(dog, time, 1) is None
    assert looks(dog, time, 11) is not None


def test_no_sign_is_missed_at_the_end_of_a_stretch(
    tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rank takes its mark away between the two things that are looked at."""
    dog = begun(tmp_path, time)
    mark(tmp_path, child.long_file("0"))
    mark(tmp_path, child.long_file("1"))
    assert looks(dog, time, 60) is None
    real = Path.exists

    def ending(path: Path) -> bool:
        found = real(path)
        if found and path.name.startswith("long-"):
            sign(tmp_path, int(path.name[5:]), 8000.0)
            path.unlink()
        return found

    monkeypatch.setattr(Path, "exists", ending)
    assert looks(dog, time, 9) is None


def test_work_in_pieces_gives_signs_only_between_steps(slow_job: SlowJob) -> None:
    alive = Path(os.environ[child.ATTEMPT_VARIABLE]) / child.alive_file("0")
    child.still_working()
    assert not alive.exists()
    child.beat()
    child.still_working()
    with child.long_stretch(), child.others_wait():
        pass
    # Compiling the first step comes next.
    assert alive.stat().st_mtime == child.FIRST_BEAT
    slow_job.takes(5 * STALL_SECONDS)
    child.beat()
    for _ in range(5):
        slow_job.takes(NEARLY)
        child.still_working()
    slow_job.takes(NEARLY)
    with pytest.raises(Killed, match=r"no progress for 10 s"):
        slow_job.takes(NEARLY)


def test_the_first_of_many_items_may_take_long_and_each_later_one_may_not(
    slow_job: SlowJob,
) -> None:
    child.beat()
    child.beat()

    def items() -> Iterator[int]:
        slow_job.takes(5 * STALL_SECONDS)
        yield 1
        slow_job.takes(STALL_SECONDS + 1)
        yield 2

    found = child.slow_at_first(items())
    assert next(found) == 1
    with pytest.raises(Killed):
        next(found)
    assert list(child.slow_at_first([])) == []


def test_a_digest_of_a_file_on_a_slow_disk_is_no_hang(
    slow_job: SlowJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").write_bytes(bytes(4 << 20))
    child.beat()
    child.beat()
    digest = hashlib.sha256()

    class Slow:
        def update(self, data: bytes) -> None:
            slow_job.takes(NEARLY)
            digest.update(data)

        hexdigest = digest.hexdigest

    monkeypatch.setattr(files.hashlib, "sha256", Slow)
    assert files.sha256_of(tmp_path / "large") == digest.hexdigest()
    assert slow_job.seconds > 5 * STALL_SECONDS


def test_of_ranks_of_other_hosts_only_their_signs_count(tmp_path: Path, time: Time) -> None:
    # Its process id is another process's here, or nobody's.
    write_json(tmp_path / child.process_file("0"), os.getpid())
    write_json(tmp_path / child.process_file("1"), 2**22 + 1)
    patience = Patience(first_seconds=100, stall_seconds=10)
    dog = Watchdog(tmp_path, 2, patience, clock=time, here=range(1))
    for moment in (child.FIRST_BEAT, 50, 51):
        for rank in range(2):
            sign(tmp_path, rank, moment)
        assert looks(dog, time, 5) is None
    # Rank 1 lives as far as this host knows: it is waited for, and named.
    for moment in range(52, 56):
        sign(tmp_path, 0, moment)
        answer = looks(dog, time, 3)
    assert answer is not None
    assert "rank 1 is silent for longer than the others" in answer
    assert dog.stopped() == ()
