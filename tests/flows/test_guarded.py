"""Hazards of the engine: what the server believes is set right by what is true on the host."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows.conftest import eventually
from tests.flows.host import Host, host

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with host(tmp_path_factory.mktemp("host")) as made:
        made.start("worker")
        made.start("watch", "--pending-seconds", "5")
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
    here.kill("worker", signal.SIGINT)
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


def test_a_run_that_is_cancelled_while_its_worker_is_gone_becomes_cancelled(
    here: Host, stay: Callable[..., Stay]
) -> None:
    run = stay()
    run.await_begun()
    here.kill("worker")
    here.set_state(run.id, "CANCELLING")
    run.kill()
    run.await_state("CANCELLED")
    here.start("worker")
    time.sleep(3)
    assert run.times_begun == 1


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
