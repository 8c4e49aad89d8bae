"""A host that is lost: training goes on without it, takes it back, and leaves the same bytes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.runs.run_dir import Workspace
from tests.faults.job import differences, outcome
from tests.marked import wait_until
from tests.train.network import (
    Host,
    prepare,
    run_of,
    train_on_one,
)
from tests.train.test_hosts import steps

pytestmark = pytest.mark.slow

# Without a restart left: neither a host that is lost after a checkpoint nor one that is back costs
# one.
SETTINGS: dict[str, Any] = {"training.virtual_ranks": 2, "devices.join_seconds": 20}
EPOCHS = 2


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare(tmp_path_factory.mktemp("prepared"), epochs=EPOCHS, **SETTINGS)


@pytest.fixture(scope="module")
def undisturbed(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The run on one host with one rank, which never stopped."""
    workspace = begun_like(prepared, tmp_path_factory.mktemp("undisturbed"))
    train_on_one(workspace)
    return workspace


def begun_like(prepared: Workspace, root: Path) -> Workspace:
    shutil.copytree(run_of(prepared).root, run_of(Workspace(root)).root)
    return Workspace(root)


def ranks_of_attempts(workspace: Workspace) -> list[int]:
    """How many ranks each attempt had."""
    counts = []
    for attempt in sorted(run_of(workspace).attempts("train").iterdir()):
        counts.append(len(list(attempt.glob("process-*.json"))))
    return counts


def says(host: Host, pattern: str) -> None:
    wait_until(lambda: bool(re.search(pattern, host.log.read_text())) or host.has_ended(), pattern)
    assert re.search(pattern, host.log.read_text()), host.log.read_text()


def train(hosts: Sequence[Host], workspace: Workspace, *words: str) -> None:
    for host in hosts:
        host.train(workspace, *words, master="10.83.0.1")


@pytest.mark.long
def test_it_goes_on_without_a_lost_host_takes_it_back_and_leaves_the_bytes_of_one_rank(
    hosts: tuple[Host, Host], prepared: Workspace, undisturbed: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path)
    leader, lost = hosts
    train(hosts, workspace, "--set=devices.min_hosts=1")
    wait_until(lambda: steps(workspace) >= 5 or leader.has_ended(), "step 5")
    lost.kill()
    says(leader, "training without host 1 of 2 until back, as devices.min_hosts 1 allows")
    train([lost], workspace, "--set=devices.min_hosts=1")
    says(leader, "host 1 of 2 is back: training saves after its step")
    codes = [host.end() for host in hosts]
    assert codes == [0, 0], [host.log.read_text() for host in hosts]
    said = leader.log.read_text()
    assert said.count("all 2 hosts are here") == 2
    assert "its bits depend" not in said
    assert ranks_of_attempts(workspace) == [2, 1, 2]
    assert differences(outcome(run_of(undisturbed)), outcome(run_of(workspace))) == []


@pytest.mark.long
def test_a_host_that_never_comes_is_done_without(
    hosts: tuple[Host, Host], prepared: Workspace, undisturbed: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path)
    leader, _ = hosts
    train([leader], workspace, "--set=devices.join_seconds=3", "--set=devices.min_hosts=1")
    assert leader.end() == 0, leader.log.read_text()
    assert "training without host 1 of 2" in leader.log.read_text()
    assert ranks_of_attempts(workspace) == [1]
    assert differences(outcome(run_of(undisturbed)), outcome(run_of(workspace))) == []
