"""With which of its hosts host 0 makes an attempt, and when it ends one to have others in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import TransientError
from mixnet_core.processes import stopping
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.runs.lease import newest_lease, said_in, say_in
from mixnet_core.runs.pulse import Pulse
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.stages.leading import Leader, led, told_to

JOIN_SECONDS = 0.4


class Hosts:
    """Four of them; what hosts 1 to 3 say and how they live is told here."""

    def __init__(self, run: RunDir, recipe: Recipe, stack: ExitStack) -> None:
        self.run, self._stack = run, stack
        self.ranks = HostRanks(1, 4, 0, "10.0.0.1", join_seconds=JOIN_SECONDS)
        self.told = told_to(recipe, run, self.ranks)
        self.lines: list[str] = []
        self.leader: Leader = stack.enter_context(led(run, recipe, self.ranks, self.lines.append))

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
