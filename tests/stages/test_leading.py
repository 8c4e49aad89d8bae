"""With which of its hosts host 0 makes an attempt, and when it ends one to have others in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import JobFailed, TransientError
from mixnet_core.processes import stopping
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.runs.lease import newest_lease, said_in, say_in
from mixnet_core.runs.pulse import Pulse
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.stages.joint_work import Work, told_to
from mixnet_core.stages.leading import Leader, led

JOIN_SECONDS = 0.4


class Hosts:
    """Four of them; what hosts 1 to 3 say and how they live is told here."""

    def __init__(self, run: RunDir, recipe: Recipe, stack: ExitStack) -> None:
        self.run, self._stack = run, stack
        self.ranks = HostRanks(1, 4, 0, "10.0.0.1")
        work = Work.training(recipe)
        self.told = told_to(recipe, run, self.ranks, work)
        self.lines: list[str] = []
        leads = led(run, recipe, self.ranks, self.lines.append, work)
        self.leader: Leader = stack.enter_context(leads)

    def are(self, *hosts: int, done: int = 0, **told: Any) -> None:
        """Hosts begin to live, and say that they are through with so many attempts."""
        lease = newest_lease(self.run)
        assert lease is not None
        for host in hosts:
            if not lease.pulse(host).exists():
                self._stack.enter_context(Pulse(lease.pulse(host), seconds=0.05))
            say_in(lease.host(host), self.told | told | {"session": f"{host}", "done": done})

    def begin(self, name: str) -> Path:
        """The leader begins an attempt, whose first step is done at once."""
        attempt = self.run.root / name
        attempt.mkdir()
        self.leader.start(attempt, self.leader.ranks)
        (attempt / "heeded").touch()
        return attempt

    def look(self, attempt: Path, seconds: float) -> None:
        look, until = self.leader.looking(lambda attempt: None), time.monotonic() + seconds
        while time.monotonic() < until and stopping.requested(attempt) is None:
            look(attempt)
            time.sleep(0.05)


@contextmanager
def hosts(root: Path, **settings: Any) -> Iterator[Hosts]:
    four = {"devices.hosts": 4, "devices.ranks": 1, "training.global_batch": 32}
    four |= {"devices.join_seconds": JOIN_SECONDS}
    devices = {f"devices.{key}": value for key, value in settings.items()}
    with ExitStack() as stack:
        yield Hosts(RunDir(root / "r"), load_recipe("digits", four | devices), stack)


def test_of_three_that_are_there_two_train_and_the_fourth_has_all_train(tmp_path: Path) -> None:
    """Three do not divide the global batch."""
    with hosts(tmp_path, min_hosts=1) as four:
        four.are(1, 3)
        four.leader.gather()
        assert four.leader.ranks.at_work == (0, 1)
        assert "training without hosts 2, 3 of 4 until back" in four.lines[-1]
        assert four.lines[-1].endswith("without training.virtual_ranks its bits depend on that")
        attempt = four.begin("first")
        four.look(attempt, 0.3)
        assert stopping.requested(attempt) is None
        assert not four.leader.goes_on
        four.are(2)
        four.look(attempt, 10)
        assert four.leader.goes_on
        four.are(1, 2, 3, done=1)
        four.leader.gather()
        assert four.leader.ranks.at_work == (0, 1, 2, 3)
        assert four.lines[-1] == "all 4 hosts are here"


def test_who_was_given_up_is_not_waited_for_again(tmp_path: Path) -> None:
    with hosts(tmp_path, min_hosts=1) as four:
        four.leader.gather()
        assert four.leader.ranks.at_work == (0,)
        four.begin("first")
        began = time.monotonic()
        four.leader.gather()
        assert time.monotonic() - began < JOIN_SECONDS
        assert len([line for line in four.lines if "without" in line]) == 1


def test_one_that_lives_and_hangs_ends_no_attempt_until_it_says_something(tmp_path: Path) -> None:
    with hosts(tmp_path, min_hosts=1) as four:
        # It is still at an earlier attempt.
        four.are(1, done=-1)
        four.leader.gather()
        attempt = four.begin("first")
        four.look(attempt, 1.3)
        assert stopping.requested(attempt) is None
        four.are(1)
        four.look(attempt, 10)
        assert four.leader.goes_on


@pytest.mark.parametrize("min_hosts", [None, 2])
def test_too_few_are_named(tmp_path: Path, min_hosts: int | None) -> None:
    with hosts(tmp_path, min_hosts=min_hosts) as four, pytest.raises(TransientError) as missed:
        four.leader.gather()
    assert "hosts 1, 2, 3 of 4 have not joined within 0.4 s" in str(missed.value)


def test_the_plan_says_who_takes_part(tmp_path: Path) -> None:
    with hosts(tmp_path, min_hosts=2) as four:
        four.are(3)
        four.leader.gather()
        four.begin("first")
        lease = newest_lease(four.run)
        assert lease is not None
        assert said_in(lease.owner)["plan"]["hosts"] == [0, 3]


def test_what_counts_alone_is_waited_for_until_the_last_host_is_through(tmp_path: Path) -> None:
    with hosts(tmp_path) as four, ThreadPoolExecutor(1) as pool:
        four.are(1, 2, 3)
        four.leader.gather()
        four.begin("first")
        waiting = pool.submit(four.leader.wait_for_others)
        four.are(1, 3, done=1)
        time.sleep(0.5)
        assert not waiting.done()
        four.are(2, done=1)
        waiting.result(10)


def test_one_that_fails_at_it_is_named(tmp_path: Path) -> None:
    with hosts(tmp_path) as four:
        four.are(1, 2, 3)
        four.leader.gather()
        four.begin("first")
        error = {"type": "JobFailed", "message": "killed", "retryable": True, "of_peer": False}
        four.are(1, 3, done=1)
        four.are(2, done=1, error=error)
        with pytest.raises(JobFailed, match="host 2 of 4: killed"):
            four.leader.wait_for_others()


def test_only_hosts_that_are_named_are_waited_for(tmp_path: Path) -> None:
    four = load_recipe("digits", {"devices.hosts": 4, "devices.ranks": 1})
    run, ranks = RunDir(tmp_path / "r"), HostRanks(1, 4, 0, "10.0.0.1", among=(0, 2))
    lines: list[str] = []
    work = Work("select", "x", range(1, 5), 5.0, "measuring without {}")
    with led(run, four, ranks, lines.append, work) as leader:
        lease = newest_lease(run)
        assert lease is not None
        with Pulse(lease.pulse(2), seconds=0.05):
            told = told_to(four, run, ranks, work)
            say_in(lease.host(2), told | {"session": "2", "done": 0})
            leader.gather()
        assert leader.ranks.at_work == (0, 2)
        assert lines == ["2 of 4 hosts are here"]
