"""A training through the flow over two hosts' workers ends as one host with two ranks would."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.checkpoints.bundle import newest_bundle
from mixnet_core.runs.run_dir import RunDir, Workspace
from tests.faults.job import differences, outcome
from tests.flows.conftest import eventually, rows, stage_processes
from tests.flows.pool_of_hosts import NAMES, Pool, pool_of_hosts
from tests.marked import marked
from tests.train.network import RUN, SETTINGS, NotAllowed, prepare, run_of, train_on_one

pytestmark = [pytest.mark.slow, pytest.mark.long]

EPOCHS = 2
# Workers, server and ranks share this machine: a sign of life may come late.
PATIENT = {"devices.lost_seconds": 30}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare(tmp_path_factory.mktemp("prepared"), epochs=EPOCHS)


@pytest.fixture(scope="module")
def reference(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The run on one host with two ranks, which never stopped."""
    workspace = begun_like(prepared, tmp_path_factory.mktemp("reference"))
    train_on_one(workspace, "--set=devices.ranks=2")
    return run_of(workspace)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    try:
        with pool_of_hosts(tmp_path_factory.mktemp("pool")) as made:
            yield made
    except NotAllowed as error:
        pytest.skip(f"network namespaces need root and ip: {error}")


@pytest.fixture
def both(pool: Pool) -> Pool:
    """The pool with both hosts."""
    for name in NAMES:
        if f"worker-{name}" not in pool.running:
            pool.start_host(name)
    return pool


def begun_like(prepared: Workspace, root: Path, like: RunDir | None = None) -> Workspace:
    """A workspace with a copy of the prepared run, and another's compiled graphs."""
    run = run_of(Workspace(root))
    shutil.copytree(run_of(prepared).root, run.root)
    if like is not None:
        shutil.copytree(like.graphs, run.graphs)
    return Workspace(root)


def trains(pool: Pool, workspace: Workspace, *, ranks: int = 1, **settings: Any) -> str:
    """Asks for the run on two hosts with so many ranks each; the flow run's id."""
    more = {key.replace("__", "."): value for key, value in settings.items()}
    return pool.deployed.run(
        "mixnet/train",
        recipe="digits",
        run=RUN,
        workspace=str(workspace.root),
        epochs=EPOCHS,
        ranks=ranks,
        hosts=2,
        accept_anyway="a test",
        settings=SETTINGS | PATIENT | more,
    )


def ends(pool: Pool, flow_run: str) -> str:
    return str(pool.deployed.final_state(flow_run, 120)["type"])


def nothing_is_left(pool: Pool, workspace: Workspace) -> None:
    eventually(lambda: not pool.under_way(), 20)
    eventually(lambda: not stage_processes(workspace), 20)


def host_of(pool: Pool, flow_run: str) -> str:
    """Which host a flow run's process is on."""
    own = {process.pid for process in pool.processes(flow_run)}
    return next(
        name
        for name, there in pool.hosts.items()
        if own & {process.pid for process in marked(there.mark)}
    )


def other(name: str) -> str:
    return NAMES[1 - NAMES.index(name)]


def test_two_hosts_leave_the_bytes_of_one_host_with_two_ranks(
    both: Pool, prepared: Workspace, reference: RunDir, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    flow_run = trains(both, workspace)
    eventually(lambda: rows(run_of(workspace), "step"), 60)
    leads = host_of(both, flow_run)
    (node,) = both.node_runs(flow_run)
    assert host_of(both, node["id"]) == other(leads)
    assert node["name"] == f"{RUN} host 1 of 2"
    assert {f"run: {RUN}", f"host: {other(leads)}"} <= set(node["tags"])
    assert ends(both, flow_run) == "COMPLETED"
    assert [each["state_type"] for each in both.node_runs(flow_run)] == ["COMPLETED"]
    assert differences(outcome(reference), outcome(run_of(workspace))) == []
    nothing_is_left(both, workspace)
    # What they have trained together they have measured together.
    for stage in ("select", "validate"):
        (attempt,) = run_of(workspace).attempts(stage).iterdir()
        assert {path.stem for path in attempt.glob("process-*.json")} == {"process-0", "process-1"}
    # What is trained needs no other host.
    again = trains(both, workspace)
    assert ends(both, again) == "COMPLETED"
    assert both.node_runs(again) == []


def test_two_hosts_with_four_ranks_leave_the_bytes_of_one_rank(both: Pool, tmp_path: Path) -> None:
    # Two images a rank: one alone leaves a BatchNorm no variance.
    same = {"training.virtual_ranks": 4, "training.global_batch": 8}
    alone = prepare(tmp_path / "alone", epochs=EPOCHS, **same)
    train_on_one(alone)
    workspace = prepare(tmp_path / "over-hosts", epochs=EPOCHS, **same)
    flow_run = trains(both, workspace, ranks=2, training__virtual_ranks=4, training__global_batch=8)
    assert both.deployed.final_state(flow_run, 300)["type"] == "COMPLETED"
    (attempt,) = run_of(workspace).attempts("train").iterdir()
    assert len(list(attempt.glob("process-*.json"))) == 4
    assert differences(outcome(run_of(alone)), outcome(run_of(workspace))) == []
    nothing_is_left(both, workspace)


def trained_past(pool: Pool, flow_run: str, workspace: Workspace, step: int) -> None:
    def there() -> bool:
        found = rows(run_of(workspace), "step")
        return bool(found and found[-1]["step"] >= step)

    eventually(there, 90)
    assert pool.deployed.state(flow_run)["type"] == "RUNNING"


def test_a_host_that_does_not_come_is_named_and_all_are_let_go(
    both: Pool, prepared: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path)
    # It takes nothing any more, and the server believes for a while that it is there.
    here = both.running["worker-second"]
    here.send_signal(signal.SIGSTOP)
    try:
        flow_run = trains(both, workspace, devices__join_seconds=5)
        named = "host 1 of 2 has not joined within 5 s"
        eventually(lambda: both.deployed.logged(flow_run, named), 60)
        eventually(lambda: not stage_processes(workspace), 10)
        (node,) = both.node_runs(flow_run)
        assert node["state_type"] == "CANCELLED"
        assert [run["id"] for run in both.under_way()] == [flow_run]
    finally:
        here.send_signal(signal.SIGCONT)
    # The task waits for its next attempt.
    both.ask_to_cancel(flow_run)
    assert ends(both, flow_run) == "CANCELLED"
    nothing_is_left(both, workspace)


def test_a_host_that_is_taken_out_is_named_before_anything_is_started(
    both: Pool, prepared: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path)
    both.pause("first", "second")
    try:
        flow_run = trains(both, workspace, devices__join_seconds=1)
        eventually(lambda: both.deployed.logged(flow_run, "(its queue is paused): start"), 60)
        assert both.node_runs(flow_run) == []
        both.ask_to_cancel(flow_run)
        assert ends(both, flow_run) == "CANCELLED"
    finally:
        both.pause("first", "second", paused=False)
    nothing_is_left(both, workspace)


def test_when_the_leaders_process_is_killed_the_run_goes_on_by_itself_to_the_same_bytes(
    both: Pool, prepared: Workspace, reference: RunDir, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    flow_run = trains(both, workspace)
    trained_past(both, flow_run, workspace, 5)
    (before,) = both.node_runs(flow_run)
    for process in both.processes(flow_run):
        process.kill()
    eventually(lambda: len(both.node_runs(flow_run)) == 2, 120)
    # Never two of one run on a host.
    assert both.deployed.state(before["id"])["type"] in ("CANCELLED", "FAILED")
    assert ends(both, flow_run) == "COMPLETED"
    assert both.deployed.state(both.node_runs(flow_run)[-1]["id"])["type"] == "COMPLETED"
    assert differences(outcome(reference), outcome(run_of(workspace))) == []
    nothing_is_left(both, workspace)


def test_a_cancel_saves_and_ends_both_hosts_and_the_run_goes_on_to_the_same_bytes(
    both: Pool, prepared: Workspace, reference: RunDir, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    flow_run = trains(both, workspace)
    trained_past(both, flow_run, workspace, 5)
    both.ask_to_cancel(flow_run)
    assert ends(both, flow_run) == "CANCELLED"
    nothing_is_left(both, workspace)
    done = rows(run_of(workspace), "step")[-1]["step"]
    assert newest_bundle(run_of(workspace).checkpoints).step == done
    again = trains(both, workspace)
    assert ends(both, again) == "COMPLETED"
    assert differences(outcome(reference), outcome(run_of(workspace))) == []
    nothing_is_left(both, workspace)


def test_a_node_run_that_is_cancelled_has_all_save_and_end(
    both: Pool, prepared: Workspace, reference: RunDir, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    flow_run = trains(both, workspace)
    trained_past(both, flow_run, workspace, 5)
    (node,) = both.node_runs(flow_run)
    both.ask_to_cancel(node["id"])
    assert ends(both, flow_run) == "FAILED"
    assert "stopped on request (SIGTERM on host 1) after step" in str(
        both.deployed.state(flow_run)["message"]
    )
    assert ends(both, node["id"]) == "CANCELLED"
    done = rows(run_of(workspace), "step")[-1]["step"]
    assert newest_bundle(run_of(workspace).checkpoints).step == done
    nothing_is_left(both, workspace)


def test_a_node_run_whose_process_alone_is_killed_goes_on_in_the_same_training(
    both: Pool, prepared: Workspace, reference: RunDir, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    flow_run = trains(both, workspace, devices__restarts=3, devices__join_seconds=120)
    trained_past(both, flow_run, workspace, 5)
    (node,) = both.node_runs(flow_run)
    processes = both.processes(node["id"])
    pids = {process.pid for process in processes}
    # Its ranks' supervisor lives on, and has them save.
    (engine,) = (process for process in processes if process.ppid() not in pids)
    engine.kill()
    assert ends(both, flow_run) == "COMPLETED"
    (again,) = both.node_runs(flow_run)
    assert (again["state_type"], again["run_count"] > 1) == ("COMPLETED", True)
    assert differences(outcome(reference), outcome(run_of(workspace))) == []
    nothing_is_left(both, workspace)


def test_a_host_that_loses_its_power_comes_back_into_the_same_training(
    both: Pool, prepared: Workspace, reference: RunDir, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    flow_run = trains(both, workspace, devices__restarts=3, devices__join_seconds=120)
    trained_past(both, flow_run, workspace, 5)
    lost = other(host_of(both, flow_run))
    both.kill_host(lost)
    eventually(lambda: both.deployed.logged(flow_run, "stopped: "), 60)
    both.start_host(lost)
    assert ends(both, flow_run) == "COMPLETED"
    # The same node run, which its host's watch had go on.
    (node,) = both.node_runs(flow_run)
    assert node["state_type"] == "COMPLETED"
    assert node["run_count"] > 1
    assert differences(outcome(reference), outcome(run_of(workspace))) == []
    nothing_is_left(both, workspace)


def test_a_run_that_may_do_with_fewer_hosts_begins_takes_what_comes_and_goes_on_without_it(
    both: Pool, prepared: Workspace, tmp_path: Path
) -> None:
    same = {"training.virtual_ranks": 2}
    alone = prepare(tmp_path / "alone", epochs=EPOCHS, **same)
    train_on_one(alone)
    workspace = prepare(tmp_path / "over-hosts", epochs=EPOCHS, **same)
    both.pause("first", "second")
    try:
        flow_run = trains(
            both,
            workspace,
            training__virtual_ranks=2,
            devices__min_hosts=1,
            devices__join_seconds=10,
            devices__restarts=3,
        )
        eventually(lambda: both.deployed.logged(flow_run, "training without host 1 of 2"), 90)
        assert both.node_runs(flow_run) == []
    finally:
        both.pause("first", "second", paused=False)
    eventually(lambda: both.deployed.logged(flow_run, "host 1 of 2 is back"), 90)
    eventually(lambda: both.deployed.logged(flow_run, "all 2 hosts are here"), 60)
    (node,) = both.node_runs(flow_run)
    assert node["name"] == f"{RUN} host 1 of 2"
    lost = other(host_of(both, flow_run))
    both.kill_host(lost)
    # It is missed, trained without, and its node run is waited for at the end.
    assert both.deployed.final_state(flow_run, 400)["type"] == "COMPLETED"
    assert differences(outcome(run_of(alone)), outcome(run_of(workspace))) == []
    # Its host is away for good: it is let go of with the run.
    (node,) = both.node_runs(flow_run)
    assert node["state_type"] == "CANCELLED"
    nothing_is_left(both, workspace)
