"""Host 0 of several tells an end that somebody wants from a host that is lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mixnet_core.errors import JobFailed, Stopped
from mixnet_core.processes import stopping
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.stages.joint_work import Work
from mixnet_core.stages.leading import Leader, led
from mixnet_core.storage.files import write_json

HERE = HostRanks(each=1, hosts=2, address="192.0.2.1", port=29500, join_seconds=10.0)
RECIPE = load_recipe("digits", {"devices.hosts": 2, "devices.ranks": 1})
WORK = Work.training(RECIPE)


def begun(leader: Leader, folder: Path, **wish: object) -> Path:
    attempt = folder / "attempt-001"
    attempt.mkdir()
    leader.start(attempt, HERE)
    write_json(attempt / stopping.REQUEST, wish)
    return attempt


def test_what_is_saved_for_a_host_whose_mixnet_was_killed_is_no_end(tmp_path: Path) -> None:
    with led(RunDir(tmp_path / "r"), RECIPE, HERE, print, WORK) as leader:
        attempt = begun(leader, tmp_path, reason="its caller on host 1 ended", lost=1)
        expected = "host 1 of 2 is gone, .* trying again helps once it is back"
        with pytest.raises(JobFailed, match=expected) as raised, leader.attempt():
            raise Stopped("stopped on request (its caller on host 1 ended) after step 7")
        assert raised.value.retryable
        # Followers are told this error, should nobody come back.
        assert raised.value.__cause__ is None
        # Nor is the pause before the next attempt ended by it.
        stopping.wait(tmp_path, 0.01)
        assert stopping.requested(attempt) is None


def test_an_end_that_somebody_wants_then_is_one(tmp_path: Path) -> None:
    with led(RunDir(tmp_path / "r"), RECIPE, HERE, print, WORK) as leader:
        attempt = begun(leader, tmp_path, reason="its caller on host 1 ended", lost=1)
        stopping.ask(attempt, "mixnet drain")
        stopping.ask(attempt, "SIGTERM")
        with pytest.raises(Stopped, match="after step 7"), leader.attempt():
            raise Stopped("stopped on request (mixnet drain) after step 7")
        assert stopping.requested(attempt) == stopping.Request(reason="mixnet drain")


def test_what_somebody_asked_on_another_host_is_one(tmp_path: Path) -> None:
    with led(RunDir(tmp_path / "r"), RECIPE, HERE, print, WORK) as leader:
        begun(leader, tmp_path, reason="SIGTERM on host 1")
        with pytest.raises(Stopped, match="SIGTERM on host 1"), leader.attempt():
            raise Stopped("stopped on request (SIGTERM on host 1) after step 7")


def test_whoever_waits_for_a_host_can_be_asked_to_stop(tmp_path: Path) -> None:
    with led(RunDir(tmp_path / "r"), RECIPE, HERE, print, WORK) as leader:
        attempt = begun(leader, tmp_path, reason="mixnet drain")
        (attempt / stopping.REQUEST).unlink()
        threading.Timer(0.5, stopping.ask, (attempt, "mixnet drain")).start()
        with pytest.raises(Stopped, match=r"\(mixnet drain\) between two attempts"):
            leader.gather()
