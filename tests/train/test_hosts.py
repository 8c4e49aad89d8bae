"""Two hosts train together as one with two ranks would, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from mixnet_core.checkpoints.bundle import newest_bundle
from mixnet_core.errors import JobFailed, Stopped, TransientError
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.values import TrainedRun
from mixnet_core.storage.files import read_json
from mixnet_core.train.metrics import read_metrics
from tests.faults.job import differences, is_program, outcome
from tests.marked import marked, wait_until
from tests.train.network import (
    MIXNET,
    RUN,
    Host,
    prepare,
    run_of,
    train_on_one,
)

pytestmark = pytest.mark.slow

EPOCHS = 2
ROOT = Path(__file__).parents[2]
# MindSpore's scheduler misses a rank after 30 s, ranks end ten seconds later, and what was saved
# is tried once more. devices.lost_seconds is 5 here, and ending takes ten seconds at most.
CUT_SECONDS, LOST_SECONDS = 90.0, 20.0
Hosts = tuple[Host, Host]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare(tmp_path_factory.mktemp("prepared"), epochs=EPOCHS)


@pytest.fixture(scope="module")
def reference(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The run on one host with two ranks, which never stopped."""
    workspace = begun_like(prepared, tmp_path_factory.mktemp("reference"))
    train_on_one(workspace, "--set=devices.ranks=2")
    return workspace


def begun_like(prepared: Workspace, root: Path, like: Workspace | None = None) -> Workspace:
    """A workspace with a copy of the prepared run, and another's compiled graphs.

    Its images stay where they are.
    """
    run = run_of(Workspace(root))
    shutil.copytree(run_of(prepared).root, run.root)
    if like is not None:
        shutil.copytree(run_of(like).graphs, run.graphs)
    return Workspace(root)


def start(hosts: Hosts, workspace: Workspace, *words: str) -> None:
    for host in hosts:
        host.train(workspace, *words, master=hosts[0].address)


def steps(workspace: Workspace) -> int:
    rows = read_metrics(run_of(workspace).metrics)
    return max((int(row["step"]) for row in rows if row["event"] == "step"), default=0)


def trained_past(hosts: Hosts, workspace: Workspace, step: int) -> None:
    wait_until(
        lambda: steps(workspace) >= step or any(host.has_ended() for host in hosts), f"step {step}"
    )
    assert not any(host.has_ended() for host in hosts), hosts[0].log.read_text()


def seconds_until(condition: Callable[[], bool], what: str) -> float:
    began = time.monotonic()
    wait_until(condition, what, seconds=120)
    return time.monotonic() - began


def both_end_well(hosts: Hosts) -> None:
    codes = [host.end() for host in hosts]
    assert codes == [0, 0], [host.log.read_text() for host in hosts]


@pytest.mark.long
def test_two_hosts_leave_the_bytes_of_one_host_with_two_ranks(
    hosts: Hosts, prepared: Workspace, reference: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    start(hosts, workspace)
    both_end_well(hosts)
    assert differences(outcome(run_of(reference)), outcome(run_of(workspace))) == []
    assert {name.removeprefix("worker_") for name in logs(workspace)} >= {"0.log", "1.log"}
    # One result, told on both.
    lines = [host.last_line().split("train")[-1] for host in hosts]
    assert lines[0] == lines[1]
    assert "2 ranks" in lines[0]
    trained = TrainedRun.model_validate_json(
        json.dumps(read_json(run_of(workspace).record("train"))["result"])
    )
    assert trained.batch.startswith("global batch 4 = 2 hosts x 1 rank x 2")


def logs(workspace: Workspace) -> set[str]:
    return {path.name for path in run_of(workspace).attempts("train").rglob("worker_*.log")}


@pytest.mark.parametrize("there", [pytest.param(0, marks=pytest.mark.long), 1])
def test_a_host_that_does_not_come_is_named(
    there: int, hosts: Hosts, prepared: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path)
    hosts[there].train(workspace, "--set=devices.join_seconds=4", master=hosts[0].address)
    assert hosts[there].end() == TransientError.exit_code
    missing = 1 - there
    assert f"mixnet: host {missing} of 2 has not joined within 4 s" in hosts[there].last_line()


def goes_on_to_the_same_bytes(hosts: Hosts, workspace: Workspace, reference: Workspace) -> None:
    """The same commands again, from where it stopped."""
    assert newest_bundle(run_of(workspace).checkpoints).step >= 3
    start(hosts, workspace)
    both_end_well(hosts)
    assert differences(outcome(run_of(reference)), outcome(run_of(workspace))) == []


def no_process_is_left(hosts: Hosts) -> bool:
    return not any(marked(host.mark) for host in hosts)


@pytest.mark.long
def test_a_cable_that_is_cut_ends_both_by_name_and_costs_no_bit(
    hosts: Hosts, prepared: Workspace, reference: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    start(hosts, workspace)
    trained_past(hosts, workspace, 5)
    hosts[1].cut()
    seconds = seconds_until(lambda: all(host.has_ended() for host in hosts), "both ended")
    assert seconds < CUT_SECONDS
    for host in hosts:
        assert host.end() == JobFailed.exit_code
        assert "mixnet: host 1 of 2: does not reach host 0 at 10.83.0.1:" in host.last_line()
        assert "look at the network between them; trying again helps" in host.last_line()
    wait_until(lambda: no_process_is_left(hosts), "every process gone", seconds=15)
    hosts[1].cut(False)
    goes_on_to_the_same_bytes(hosts, workspace, reference)


@pytest.mark.long
def test_a_host_whose_power_fails_is_named_waited_for_and_costs_no_bit(
    hosts: Hosts, prepared: Workspace, reference: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    start(hosts, workspace)
    trained_past(hosts, workspace, 5)
    hosts[1].kill()
    lost = re.compile(
        r"stopped: host 1 of 2 has given no sign of life for \d+ s: .*; going on from"
    )
    seconds = seconds_until(lambda: bool(lost.search(hosts[0].log.read_text())), "host 1 missed")
    assert seconds < LOST_SECONDS
    hosts[1].train(workspace, master=hosts[0].address)
    both_end_well(hosts)
    assert differences(outcome(run_of(reference)), outcome(run_of(workspace))) == []


@pytest.mark.long
def test_a_host_whose_mixnet_alone_is_killed_saves_is_waited_for_and_costs_no_bit(
    hosts: Hosts, prepared: Workspace, reference: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    start(hosts, workspace)
    trained_past(hosts, workspace, 5)
    assert hosts[1].process is not None
    hosts[1].process.kill()
    hosts[1].process.wait()
    gone = re.compile(r"stopped: host 1 of 2 is gone, its mixnet was killed there: .*; going on fr")
    wait_until(
        lambda: bool(gone.search(hosts[0].log.read_text())) or hosts[0].has_ended(), "host 1 missed"
    )
    assert not hosts[0].has_ended(), hosts[0].log.read_text()
    hosts[1].train(workspace, master=hosts[0].address)
    both_end_well(hosts)
    assert differences(outcome(run_of(reference)), outcome(run_of(workspace))) == []


@pytest.mark.long
def test_a_killed_rank_is_named_with_its_host_and_all_go_on_by_themselves(
    hosts: Hosts, prepared: Workspace, reference: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    start(hosts, workspace, "--set=devices.restarts=3")
    trained_past(hosts, workspace, 5)
    (rank,) = (process for process in marked(hosts[1].mark) if is_program(process, "rank 1"))
    rank.kill()
    both_end_well(hosts)
    said = hosts[0].log.read_text()
    assert "stopped: host 1 of 2: mixnet_core.train on rank 1 was ended by SIGKILL" in said
    assert differences(outcome(run_of(reference)), outcome(run_of(workspace))) == []


@pytest.mark.long
def test_when_the_leader_is_killed_the_other_stops_and_follows_the_next_one(
    hosts: Hosts, prepared: Workspace, reference: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    start(hosts, workspace)
    trained_past(hosts, workspace, 5)
    hosts[0].kill()
    lost = re.compile(r"host 0 of 2 has given no sign of life for \d+ s; waiting for another lead")
    seconds = seconds_until(lambda: bool(lost.search(hosts[1].log.read_text())), "host 0 missed")
    assert seconds < LOST_SECONDS
    hosts[0].train(workspace, master=hosts[0].address)
    both_end_well(hosts)
    assert differences(outcome(run_of(reference)), outcome(run_of(workspace))) == []


@pytest.mark.long
@pytest.mark.parametrize("asked", [0, 1])
def test_asked_on_one_host_all_save_and_end_and_go_on(
    asked: int, hosts: Hosts, prepared: Workspace, reference: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    start(hosts, workspace)
    trained_past(hosts, workspace, 5)
    process = hosts[asked].process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    assert [host.end(60) for host in hosts] == [Stopped.exit_code] * 2
    reason = "SIGTERM" if asked == 0 else "SIGTERM on host 1"
    for host in hosts:
        assert f"mixnet: stopped on request ({reason}) after step" in host.last_line()
    step = int(re.findall(r"after step (\d+),", hosts[0].last_line())[0])
    assert newest_bundle(run_of(workspace).checkpoints).step == step
    goes_on_to_the_same_bytes(hosts, workspace, reference)


@pytest.mark.long
def test_the_jobsets_command_trains_with_the_variables_of_its_pods(
    hosts: Hosts, prepared: Workspace, reference: Workspace, tmp_path: Path
) -> None:
    jobset = yaml.safe_load((ROOT / "infra/kubernetes/jobset.yaml").read_text())
    (job,) = (job for job in jobset["spec"]["replicatedJobs"] if job["name"] == "hosts")
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    program, stage, *options = container["args"]
    assert (program, stage) == ("mixnet", "train")
    # Two pods, and another run of another recipe: its own.
    changed = {"--run": RUN, "--hosts": "2"}
    name = options[options.index("--master") + 1].partition(":")[0]
    workspace = begun_like(prepared, tmp_path, reference)
    with known(hosts, name, hosts[0].address):
        for host in hosts:
            words = [
                changed.get(before, word).replace("$(JOB_COMPLETION_INDEX)", str(host.number))
                for before, word in zip(["", *options], options, strict=False)
            ]
            host.start(workspace, stage, *words)
        both_end_well(hosts)
    assert differences(outcome(run_of(reference)), outcome(run_of(workspace))) == []
    # What is finished is finished on any host, also for a command that knows nothing of hosts.
    hosts[1].train(workspace, master=hosts[0].address)
    assert hosts[1].end() == 0
    hosts[1].start(workspace, "train", f"--run={RUN}")
    assert hosts[1].end() == 0


@contextmanager
def known(hosts: Hosts, name: str, address: str) -> Iterator[None]:
    """Has the hosts know a name; `ip netns exec` puts these files over /etc."""
    folders = [Path("/etc/netns") / host.namespace for host in hosts]
    try:
        for folder in folders:
            folder.mkdir(parents=True)
            (folder / "hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")
        yield
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


# Runs a step as srun does: on one host, or on each with the step's variables; the worst code.
SRUN = """#!/bin/bash
hosts=({hosts})
count=2
while [[ "$1" == --* ]]; do
    [ "$1" = --nodes=1 ] && count=1
    shift
done
pids=() code=0
for i in $(seq 0 $((count - 1))); do
    SLURM_NODEID=$i SLURM_LOCALID=0 SLURM_STEP_NUM_NODES=$count ip netns exec "${{hosts[i]}}" "$@" &
    pids+=($!)
done
for pid in "${{pids[@]}}"; do
    wait "$pid" || code=$?
done
exit $code
"""


@pytest.mark.long
def test_slurms_script_trains_on_all_nodes_of_its_job(
    hosts: Hosts, prepared: Workspace, reference: Workspace, tmp_path: Path
) -> None:
    workspace = begun_like(prepared, tmp_path, reference)
    programs = {
        "srun": SRUN.format(hosts=" ".join(host.namespace for host in hosts)),
        "scontrol": f"#!/bin/bash\necho {hosts[0].address}\necho {hosts[1].address}\n",
        # Its steps before and after the training are other tests'.
        "mixnet": f'#!/bin/bash\n[ "$1" = train ] || exit 0\nexec {" ".join(MIXNET)} "$@"\n',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    slurm = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "MIXNET_HOME": str(workspace.root),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "n[0-1]",
    }
    done = subprocess.run(
        ["bash", str(ROOT / "infra/slurm/train.sbatch"), "digits", "/data", RUN],
        env={**os.environ, **slurm},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert differences(outcome(run_of(reference)), outcome(run_of(workspace))) == []


@pytest.mark.long
def test_variables_alone_say_which_host_it_is(
    hosts: Hosts, prepared: Workspace, reference: Workspace, tmp_path: Path
) -> None:
    """Of a Slurm step on one, of a pod of an indexed Job on the other."""
    workspace = begun_like(prepared, tmp_path, reference)
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\necho {hosts[0].address}\necho other\n")
    (tmp_path / "scontrol").chmod(0o755)
    step = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_NODELIST": "n[0-1]",
        "SLURM_NODEID": "0",
        "SLURM_LOCALID": "0",
    }
    hosts[0].start(workspace, "train", f"--run={RUN}", **step)
    pod = {"MIXNET_HOSTS": "2", "JOB_COMPLETION_INDEX": "1"}
    hosts[1].start(workspace, "train", f"--run={RUN}", **pod)
    both_end_well(hosts)
    assert differences(outcome(run_of(reference)), outcome(run_of(workspace))) == []
