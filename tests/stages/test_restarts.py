"""Training that failed starts again by itself, a stated number of times without getting further."""

from __future__ import annotations

import pytest

from mixnet_core.errors import JobFailed, MachineError
from mixnet_core.stages.restarts import PAUSES, Restarts

KILLED = JobFailed("killed: trying again helps", retryable=True)


class Watched:
    def __init__(self, most: int) -> None:
        self.said: list[str] = []
        self.waited: list[float] = []
        self.restarts = Restarts(most, self.said.append, self.waited.append)


def test_without_a_newer_checkpoint_pauses_grow_until_it_is_given_up() -> None:
    watched = Watched(5)
    for _ in range(5):
        watched.restarts.after(KILLED, 0)
    with pytest.raises(JobFailed) as given_up:
        watched.restarts.after(KILLED, 0)
    assert given_up.value is KILLED
    assert watched.waited == [*PAUSES, PAUSES[-1], PAUSES[-1]]
    assert watched.said[0] == (
        "stopped: killed: trying again helps; starting again from step 0 in 5 s, restart 1 of 5 "
        "without a newer checkpoint"
    )
    assert watched.said[-1] == "given up after 5 restarts in a row without a newer checkpoint"
    assert len(watched.said) == 6


def test_a_newer_checkpoint_begins_the_count_anew_and_costs_no_pause() -> None:
    watched = Watched(1)
    watched.restarts.begin(4)
    for step in (8, 12, 16, 20):
        watched.restarts.after(KILLED, step)
        assert watched.said[-1].endswith(f"going on from step {step}")
    assert watched.waited == []
    watched.restarts.after(KILLED, 20)
    watched.restarts.after(KILLED, 24)
    watched.restarts.after(KILLED, 24)
    assert watched.waited == [PAUSES[0], PAUSES[0]]
    with pytest.raises(JobFailed):
        watched.restarts.after(KILLED, 24)


def test_a_checkpoint_that_an_earlier_call_left_is_no_progress() -> None:
    watched = Watched(0)
    watched.restarts.begin(8)
    with pytest.raises(JobFailed):
        watched.restarts.after(KILLED, 8)
    assert watched.said == []


def test_what_cannot_pass_is_raised_at_once_even_after_progress() -> None:
    watched = Watched(3)
    with pytest.raises(MachineError, match="out of memory"):
        watched.restarts.after(MachineError("out of memory"), 8)
    assert (watched.said, watched.waited) == ([], [])


def test_what_goes_on_without_a_failure_costs_nothing_and_counts_what_it_saved() -> None:
    watched = Watched(1)
    watched.restarts.after(KILLED, 0)
    watched.restarts.goes_on(3)
    watched.restarts.after(KILLED, 3)
    assert len(watched.waited) == 2
    # Nothing new was saved: it still counts as one in vain.
    watched.restarts.goes_on(3)
    with pytest.raises(JobFailed):
        watched.restarts.after(KILLED, 3)
