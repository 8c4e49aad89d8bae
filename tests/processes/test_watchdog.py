"""Patience in a time of its own: what does not count as the ranks' silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mixnet_core.processes import child
from mixnet_core.processes.watchdog import Patience, Watchdog
from mixnet_core.storage.files import write_json


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
