"""Hazards of the engine: what the server believes is set right by what is true on the host."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from mixnet_core.recipe.recipe import load_recipe
from mixnet_flows.accelerators import accelerators_held
from mixnet_flows.infra.watch import Watch
from tests.flows.conftest import FINAL, asked, eventually, tiny
from tests.flows.host import Host, host

pytestmark = pytest.mark.slow
QUICK = ("--pending-seconds", "5", "--cancelling-seconds", "5")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with host(tmp_path_factory.mktemp("host")) as made:
        made.start("worker")
        made.start("watch", *QUICK)
        yield made


@dataclass
class Stay:
    """A flow run that stays until it is let go."""

    host: Host
    id: str
    until: Path
    begun: Path

    @property
    def state(self) -> str:
        return str(self.host.deployed.state(self.id)["type"])

    @property
    def times_begun(self) -> int:
        return len(self.begun.read_text().splitlines()) if self.begun.exists() else 0

    def await_begun(self, times: int = 1) -> None:
        eventually(lambda: self.times_begun >= times, 60)
        eventually(lambda: self.state == "RUNNING", 10)

    def let_go(self) -> None:
        self.until.touch()

    def await_state(self, state: str, seconds: float = 30) -> None:
        eventually(lambda: self.state == state, seconds)

    def kill(self, signum: signal.Signals = signal.SIGKILL) -> None:
        for process in self.host.processes(self.id):
            process.send_signal(signum)


@pytest.fixture
def stay(here: Host, tmp_path: Path) -> Iterator[Callable[..., Stay]]:
    stays = []

    def begin(on: Host = here) -> Stay:
        number = len(stays)
        until, begun = tmp_path / f"until-{number}", tmp_path / f"begun-{number}"
        run = on.deployed.run("stays/test", until=str(until), begun=str(begun))
        stays.append(Stay(on, run, until, begun))
        return stays[-1]

    yield begin
    for each in stays:
        each.let_go()


def test_a_run_that_is_called_crashed_and_lives_takes_its_state_back_and_says_so(
    here: Host, stay: Callable[..., Stay]
) -> None:
    run = stay()
    run.await_begun()
    here.set_state(run.id, "CRASHED")
    run.await_state("RUNNING")
    assert "although it was called Crashed" in here.deployed.state(run.id)["message"]
    run.let_go()
    run.await_state("COMPLETED")
    assert run.times_begun == 1


def test_a_run_whose_process_was_killed_goes_on_by_itself(
    here: Host, stay: Callable[..., Stay]
) -> None:
    run = stay()
    run.await_begun()
    run.kill()
    run.await_begun(2)
    run.let_go()
    run.await_state("COMPLETED")
    told = [state["message"] or "" for state in here.states(run.id)]
    assert "goes on by itself, 1 of 10 times" in told


def test_a_crashed_run_goes_on_by_one_command(here: Host, stay: Callable[..., Stay]) -> None:
    here.kill("watch")
    try:
        run = stay()
        run.await_begun()
        run.kill()
        run.await_state("CRASHED")
        # The table breaks its lines.
        assert run.id[:8] in here.deployed.cli("flow-run", "ls", "--state", "Crashed").stdout
        assert here.deployed.cli("flow-run", "retry", run.id).returncode == 0
        run.await_begun(2)
        run.let_go()
        run.await_state("COMPLETED")
    finally:
        here.start("watch", *QUICK)


def test_the_next_run_of_a_deployment_waits_and_comes_to_its_turn_when_a_worker_was_killed(
    here: Host, stay: Callable[..., Stay]
) -> None:
    first = stay()
    first.await_begun()
    second = stay()
    time.sleep(4)
    assert second.state == "SCHEDULED"
    here.kill("worker")
    first.kill()
    here.start("worker")
    first.let_go()
    second.let_go()
    first.await_state("COMPLETED")
    second.await_state("COMPLETED")
    assert first.times_begun == 2


def test_a_run_that_stays_pending_is_scheduled_again_and_frees_its_place(
    here: Host, stay: Callable[..., Stay]
) -> None:
    here.kill("worker", signal.SIGTERM)
    run, other = stay(), stay()
    # As a worker leaves it that dies between taking a run and starting its process.
    here.set_state(run.id, "PENDING", "Submitting")
    here.start("worker")
    run.let_go()
    other.let_go()
    run.await_state("COMPLETED", 60)
    other.await_state("COMPLETED", 60)
    assert "goes on by itself, 1 of 10 times" in [s["message"] for s in here.states(run.id)]


def test_a_run_that_waits_for_its_first_step_is_not_called_pending_for_ever(
    here: Host, stay: Callable[..., Stay]
) -> None:
    run = stay()
    run.await_begun()
    # Its process lives, whatever the server was made to believe.
    here.set_state(run.id, "PENDING", "Submitting")
    time.sleep(8)
    assert run.times_begun == 1
    run.let_go()
    run.await_state("COMPLETED")


def test_a_run_that_is_called_cancelled_ends_and_stays_cancelled(
    here: Host, stay: Callable[..., Stay]
) -> None:
    run = stay()
    run.await_begun()
    here.set_state(run.id, "CANCELLED")
    eventually(lambda: not here.processes(run.id), 30)
    time.sleep(5)
    run.await_state("CANCELLED")
    assert run.times_begun == 1


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_that_is_cancelled_while_nobody_listens_ends_and_becomes_cancelled(
    killed: bool, here: Host, stay: Callable[..., Stay]
) -> None:
    run = stay()
    run.await_begun()
    here.kill("worker")
    # Outlives its worker.
    assert here.processes(run.id)
    here.set_state(run.id, "CANCELLING")
    if killed:
        run.kill()
    run.await_state("CANCELLED")
    eventually(lambda: not here.processes(run.id), 10)
    here.start("worker")
    time.sleep(3)
    assert run.state == "CANCELLED"
    assert run.times_begun == 1


@pytest.mark.parametrize(("begun", "becomes"), [(1, "SCHEDULED"), (2, "RUNNING")])
def test_only_the_host_of_the_newest_attempt_judges_a_run(
    begun: int, becomes: str, here: Host, stay: Callable[..., Stay], tmp_path: Path
) -> None:
    here.kill("worker")
    flow_run = stay().id
    here.set_state(flow_run, "RUNNING")
    folder = tmp_path / "notes"
    folder.mkdir()
    # Of a process that is gone; since its attempt another host may have taken the run.
    note = {"pid": 1, "run_count": begun, "cancelled": False}
    (folder / flow_run).write_text(json.dumps(note))
    watch = Watch(folder, "another")
    with (
        temporary_settings({PREFECT_API_URL: here.api}),
        get_client(sync_client=True) as client,
    ):
        watch.look(client)
        assert here.deployed.state(flow_run)["type"] == "RUNNING"
        watch.look(client)
        assert here.deployed.state(flow_run)["type"] == becomes
        # Looked after until it has begun anew.
        assert bool(list(folder.iterdir())) == (becomes == "SCHEDULED")
        here.set_state(flow_run, "COMPLETED")
        watch.look(client)
    assert here.deployed.state(flow_run)["type"] == "COMPLETED"
    assert not list(folder.iterdir())
    here.start("worker")


def test_a_finished_run_is_left_as_it_is(here: Host, stay: Callable[..., Stay]) -> None:
    run = stay()
    run.await_begun()
    run.let_go()
    run.await_state("COMPLETED")
    eventually(lambda: not list(here.root.glob(f"cache/flow-runs/*/*/{run.id}")), 20)
    assert here.states(run.id)[-1]["type"] == "COMPLETED"


# Half a minute where nothing else waits for the machine; ten minutes by MIXNET_TEST_AWAY=600.
@pytest.mark.long
@pytest.mark.parametrize("away", ["in the middle", "at the end"])
def test_a_server_that_is_away_costs_a_run_nothing(
    away: str, here: Host, stay: Callable[..., Stay]
) -> None:
    run = stay()
    run.await_begun()
    here.kill("server")
    if away == "at the end":
        run.let_go()
    time.sleep(float(os.environ.get("MIXNET_TEST_AWAY") or 20))
    here.start("server")
    run.let_go()
    run.await_state("COMPLETED", 60)
    assert run.times_begun == 1
    assert [state["type"] for state in here.states(run.id)].count("CRASHED") == 0


@pytest.mark.long
def test_a_training_ends_as_it_would_have_with_a_server_that_is_away_in_each_stage(
    here: Host, images: Path
) -> None:
    deployed = here.deployed
    run = deployed.workspace.run("away")
    parameters = tiny(images, "away", ranks=1, epochs=8)
    # So few images teach nothing, which would end it.
    parameters["settings"]["training.chance_epochs"] = 100
    flow_run = deployed.run("mixnet/train", **parameters)
    eventually(lambda: (run.attempts("train") / "attempt-001").exists(), 90)
    downs = 0
    while not run.record("publish").exists():
        here.kill("server")
        downs += 1
        # Shorter than a stage, so that it is away in several.
        time.sleep(5)
        here.start("server")
        time.sleep(1)
        assert deployed.state(flow_run)["type"] not in ("FAILED", "CRASHED")
    assert downs > 2
    assert deployed.final_state(flow_run)["type"] == "COMPLETED"
    assert [state["type"] for state in here.states(flow_run)].count("CRASHED") == 0
    assert len(list(run.attempts("train").iterdir())) == 1


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6, 1.0, 1.5, 2.5])
def test_a_sigterm_around_the_end_of_a_run_does_not_undo_it(
    seconds: float, here: Host, stay: Callable[..., Stay]
) -> None:
    run = stay()
    run.await_begun()
    run.let_go()
    time.sleep(seconds)
    run.kill(signal.SIGTERM)
    run.await_state("COMPLETED", 60)
    time.sleep(2)
    types = [state["type"] for state in here.states(run.id)]
    assert types[-1] == "COMPLETED"
    assert types.count("COMPLETED") == 1


def test_a_sigterm_between_the_end_of_a_body_and_its_last_state_is_too_late(here: Host) -> None:
    run = here.deployed.run("late-sigterm/test")
    eventually(lambda: here.deployed.state(run)["type"] in FINAL, 60)
    time.sleep(2)
    assert here.deployed.state(run)["type"] == "COMPLETED"


def test_accelerators_are_let_go_of_without_a_server_and_waited_for_with_none(
    here: Host,
) -> None:
    devices = load_recipe("digits").devices.model_copy(update={"target": "Ascend", "ranks": 3})
    settings = {PREFECT_API_URL: here.api, PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(settings), disable_run_logger():
        with accelerators_held(devices):
            here.kill("server")
        back = threading.Timer(5, here.start, ("server",))
        back.start()
        with accelerators_held(devices):
            pass
        back.join()
    # The first lease was not given back: the server takes it back itself once it has run out, as it
    # may have by now where the machine is busy.
    leases = [
        json.loads(path.read_text())["metadata"]["slots"]
        for path in (here.root / "prefect" / "concurrency_leases").glob("*-*.json")
    ]
    assert leases in ([3], [])
    url = f"{here.api}/v2/concurrency_limits/accelerators"
    assert asked("GET", url)["active_slots"] in (sum(leases), 0)


def _none_left(on: Host, run: str) -> bool:
    return not on.processes(run)


@pytest.mark.long
def test_what_serve_was_killed_over_goes_on_when_it_is_started_again(
    here: Host, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    environment = {
        **here.environment,
        "PREFECT_API_URL": api,
        "MIXNET_HOME": str(tmp_path / "workspace"),
    }
    command = [sys.executable, "-m", "mixnet_flows.infra.serve", f"--port={port}"]
    (tmp_path / "prefect.yaml").write_text((here.root / "prefect.yaml").read_text())
    other = Host(tmp_path, port, environment)
    until, begun = tmp_path / "until", tmp_path / "begun"
    for times in (1, 2):
        serve = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
        assert serve.stdout is not None
        assert serve.stdout.readline().startswith(b"dashboard")
        if times == 1:
            run = other.deployed.run("stays/test", until=str(until), begun=str(begun))
        stay = Stay(other, run, until, begun)
        stay.await_begun(times)
        if times == 2:
            stay.let_go()
            stay.await_state("COMPLETED")
        serve.kill()
        # Closes its pipe too.
        serve.communicate()
        eventually(partial(_none_left, other, run), 30)


@pytest.mark.long
def test_everything_killed_at_once_goes_on_when_it_is_started_again(
    here: Host, stay: Callable[..., Stay]
) -> None:
    run = stay()
    run.await_begun()
    # As a host that is restarted.
    for name in ("watch", "worker", "server"):
        here.kill(name)
    run.kill()
    for name in ("server", "worker", "watch"):
        here.start(name)
    run.await_begun(2)
    run.let_go()
    run.await_state("COMPLETED")
