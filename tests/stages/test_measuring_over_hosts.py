"""Two hosts select and validate together as one does alone, whatever becomes of the second."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.values import Selection
from mixnet_core.storage.files import read_json
from tests.marked import wait_until
from tests.train.network import Host, prepare, run_of, train_on_one

pytestmark = [pytest.mark.slow, pytest.mark.long]

Hosts = tuple[Host, Host]
MASTER = "10.83.0.1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = prepare(tmp_path_factory.mktemp("trained"), epochs=2)
    train_on_one(workspace)
    return workspace


@pytest.fixture
def workspace(trained: Workspace, tmp_path: Path) -> Workspace:
    return copied(trained, tmp_path / "together")


def copied(trained: Workspace, root: Path) -> Workspace:
    shutil.copytree(run_of(trained).root, run_of(Workspace(root)).root)
    return Workspace(root)


def measure(hosts: Hosts, workspace: Workspace, stage: str) -> None:
    for host in hosts:
        told = ("--hosts=2", f"--node-rank={host.number}", f"--master={MASTER}")
        host.start(workspace, stage, "--run=r", *told)


def ends_well(*hosts: Host) -> None:
    codes = [host.end() for host in hosts]
    assert codes == [0] * len(hosts), [host.log.read_text() for host in hosts]


def attempts(workspace: Workspace, stage: str) -> list[list[str]]:
    """For each attempt the ranks whose processes were in it."""
    folders = sorted(run_of(workspace).attempts(stage).iterdir())
    return [sorted(path.stem for path in each.glob("process-*.json")) for each in folders]


def selected(workspace: Workspace) -> Selection:
    return Selection.model_validate(read_json(run_of(workspace).record("select"))["result"])


def test_both_measure_each_image_once_and_find_what_one_host_finds(
    hosts: Hosts, trained: Workspace, workspace: Workspace, tmp_path: Path
) -> None:
    one = copied(trained, tmp_path / "alone")
    hosts[0].start(one, "select", "--run=r")
    ends_well(hosts[0])
    measure(hosts, workspace, "select")
    ends_well(*hosts)
    assert len(selected(workspace).candidates) > 1
    assert [item.score for item in selected(workspace).candidates] == [
        item.score for item in selected(one).candidates
    ]
    hosts[0].start(one, "validate", "--run=r")
    ends_well(hosts[0])
    measure(hosts, workspace, "validate")
    ends_well(*hosts)
    assert run_of(workspace).predictions.read_bytes() == run_of(one).predictions.read_bytes()
    for stage in ("select", "validate"):
        assert attempts(workspace, stage) == [["process-0", "process-1"]]
    # What is on record needs nobody.
    hosts[1].start(workspace, "validate", "--run=r", "--hosts=2", "--node-rank=1")
    ends_well(hosts[1])
    # Without an option it measures alone, whatever its environment says.
    run_of(workspace).record("validate").unlink()
    hosts[1].start(workspace, "validate", "--run=r", SLURM_STEP_NUM_NODES="3", SLURM_NODEID="2")
    ends_well(hosts[1])


def test_without_one_that_does_not_come_host_0_measures_all_images(
    hosts: Hosts, workspace: Workspace
) -> None:
    leader, _ = hosts
    told = ("--hosts=2", "--node-rank=0", f"--master={MASTER}")
    leader.start(workspace, "select", "--run=r", *told, "--set=devices.join_seconds=3")
    ends_well(leader)
    assert "measuring without host 1 of 2" in leader.log.read_text()
    assert attempts(workspace, "select") == [["process-0"]]


def power_cut(other: Host, rank: psutil.Process) -> None:
    other.kill()


def end_asked_for(other: Host, rank: psutil.Process) -> None:
    assert other.process is not None
    other.process.terminate()


def rank_alone(other: Host, rank: psutil.Process) -> None:
    rank.kill()


@pytest.mark.parametrize("harm", [power_cut, end_asked_for, rank_alone])
def test_after_one_that_fails_host_0_measures_all_images(
    harm: Callable[[Host, psutil.Process], None], hosts: Hosts, workspace: Workspace
) -> None:
    leader, other = hosts
    measure(hosts, workspace, "select")
    there = run_of(workspace).attempts("select") / "attempt-001" / "process-1.json"
    wait_until(lambda: there.exists() or leader.has_ended(), "the other host's rank")
    harm(other, psutil.Process(read_json(there)))
    ends_well(leader)
    assert "measuring on this host alone: " in leader.log.read_text()
    assert attempts(workspace, "select")[1] == ["process-0"]
    assert {item.score.count for item in selected(workspace).candidates} == {10}


def test_hosts_with_other_engines_do_not_measure_together(
    hosts: Hosts, workspace: Workspace, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    # It is found no more, as where it is not installed.
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u\nf = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'openvino' else f(name, *more)\n"
    )
    leader, other = hosts
    told = ("--hosts=2", f"--master={MASTER}")
    leader.start(workspace, "select", "--run=r", "--node-rank=0", *told)
    other.start(workspace, "select", "--run=r", "--node-rank=1", *told, PYTHONPATH=str(hidden))
    ends_well(leader)
    assert "measuring on this host alone: host 1 of 2 has openvino none" in leader.log.read_text()
