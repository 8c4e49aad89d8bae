"""A host of several is one process: a second one with its number is named, and disturbs nothing."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from mixnet_core.errors import InputError
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.lease import newest_lease, said_in, say_in
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.stages.following import follow
from mixnet_core.stages.joint_work import Work
from mixnet_core.stages.leading import Look, led
from tests.marked import wait_until

LEADER = HostRanks(each=1, hosts=2, address="192.0.2.1", port=29500)
HERE = HostRanks(each=1, hosts=2, host=1, join_seconds=20.0)
RECIPE = load_recipe("digits", {"devices.hosts": 2, "devices.ranks": 1})
WORK = Work.training(RECIPE)


def follows(run: RunDir) -> object:
    return follow(RECIPE, run, HERE, lambda line: None, lambda: False, WORK)


def test_a_number_that_is_given_twice_is_refused_to_whoever_comes_later(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "r")
    with ThreadPoolExecutor() as pool, led(run, RECIPE, LEADER, print, WORK) as leader:
        first = pool.submit(follows, run)
        lease = newest_lease(run)
        assert lease is not None
        wait_until(lambda: bool(said_in(lease.host(1))), "the first is there")
        said = said_in(lease.host(1))
        with pytest.raises(InputError, match=r"\(pid \d+\) is host 1 of 2 already: .*--node-rank"):
            follows(run)
        assert said_in(lease.host(1))["session"] == said["session"]
        assert not first.done()
        # Two that begin at the same moment: the one that says so last is the host.
        say_in(lease.host(1), said | {"session": "another", "at": "host b (pid 7)"})
        with pytest.raises(InputError, match=r"host b \(pid 7\) is host 1 of 2 already"):
            first.result(20)
        assert said_in(lease.host(1))["session"] == "another"
        leader.end({}, None)


def looks_for_ever(look: Look, attempt: Path) -> None:
    while True:
        look(attempt)


def test_an_address_of_host_0_that_every_host_has_is_named_on_all(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "r")
    attempt = tmp_path / "attempt-001"
    attempt.mkdir()
    with ThreadPoolExecutor() as pool:
        with led(run, RECIPE, LEADER, print, WORK) as leader:
            other = pool.submit(follows, run)
            leader.gather()
            leader.start(attempt, replace(LEADER, address="127.0.0.1"))
            look = leader.looking(lambda folder: time.sleep(0.2))
            named = "host 0's address 127.0.0.1 is one of host 1 of 2 too"
            with pytest.raises(InputError, match=named):
                looks_for_ever(look, attempt)
            leader.end({}, None)
        assert other.result(20) == {}
