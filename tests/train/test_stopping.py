"""Training that is asked to stop saves its last step, and ends with the bits of the undisturbed."""

from __future__ import annotations

import json
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mixnet_core.checkpoints.bundle import newest_bundle
from mixnet_core.errors import EXIT_CODES
from mixnet_core.processes import stopping
from mixnet_core.runs.run_dir import Workspace
from tests.faults.job import differences, ended_afterwards
from tests.faults.saving import Command
from tests.marked import wait_until

pytestmark = pytest.mark.slow

SAVED = 75
# Long enough for a command to start while it trains.
EPOCHS = 4
STEPS_PER_EPOCH = 12


def new(workspace: Path, name: str) -> Command:
    return Command(Workspace(workspace), name, uuid.uuid4().hex)


def undisturbed(folder: Path, ranks: int) -> Command:
    with ended_afterwards(new(folder, "undisturbed")) as job:
        job.ranks, job.epochs = ranks, EPOCHS
        job.prepare()
        assert end_of(job) == 0
    return job


def end_of(job: Command) -> int:
    job.start()
    assert job.process is not None
    return job.process.wait(300)


def stopped(job: Command, ask: Callable[[Command], None], *, after: int) -> int:
    """Starts the command and asks it once a step was done; the exit code, when nothing runs."""
    job.start()
    assert job.process is not None
    wait_until(lambda: job.ended or max(job.steps(), default=0) >= after, f"step {after}")
    ask(job)
    code = job.process.wait(60)
    wait_until(lambda: not job.processes(), "every process gone", seconds=30)
    return code


def terminate(job: Command) -> None:
    assert job.process is not None
    job.process.send_signal(signal.SIGTERM)


def interrupt(job: Command) -> None:
    assert job.process is not None
    job.process.send_signal(signal.SIGINT)


def kill(job: Command) -> None:
    assert job.process is not None
    job.process.kill()


@pytest.fixture(scope="module")
def on_one_rank(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return undisturbed(tmp_path_factory.mktemp("one-rank"), 1)


@pytest.fixture
def job(on_one_rank: Command) -> Iterator[Command]:
    """Another run of the same recipe, with the graph of the first to save time."""
    root, name = on_one_rank.workspace.root, f"run-{uuid.uuid4().hex[:8]}"
    with ended_afterwards(new(root, name)) as job:
        job.begin_like(on_one_rank)
        yield job


@pytest.mark.long
def test_a_training_that_is_drained_terminated_killed_and_interrupted_loses_no_step_and_no_bit(
    on_one_rank: Command, job: Command
) -> None:
    codes: list[int] = []
    code = stopped(job, lambda job: codes.append(job.drain("--json")), after=2)
    assert (code, codes) == (SAVED, [0])
    first = newest_bundle(job.run.checkpoints).step
    assert 2 <= first == job.steps()[-1]
    (drained,) = json.loads(job.said())["drained"]
    assert (drained["run"], drained["state"]) == (job.name, "stopped")
    assert f"stopped on request (mixnet drain) after step {first}," in drained["line"]
    assert job.drain("--json") == 0
    assert json.loads(job.said()) == {"drained": []}

    assert stopped(job, terminate, after=first + 1) == SAVED
    second = newest_bundle(job.run.checkpoints).step
    assert first < second == job.steps()[-1]
    assert job.log.read_text().splitlines()[-1] == (
        f"mixnet: stopped on request (SIGTERM) after step {second}, checkpoint kept in "
        f"{job.run.checkpoints}: the same command goes on from there"
    )

    # Its supervisor asks.
    assert stopped(job, kill, after=second + 1) == -signal.SIGKILL
    third = newest_bundle(job.run.checkpoints).step
    assert second < third == job.steps()[-1]

    # Where typer would end it with 130.
    assert stopped(job, interrupt, after=third + 1) == SAVED
    assert third < newest_bundle(job.run.checkpoints).step == job.steps()[-1]

    assert end_of(job) == 0
    assert differences(on_one_rank.outcome(), job.outcome()) == []


def test_what_compiles_is_ended_at_once(on_one_rank: Command, job: Command) -> None:
    shutil.rmtree(job.run.graphs)
    job.start()
    began = job.run.attempts("train") / "attempt-001" / "alive-0"
    wait_until(began.exists, "all is ready for the first step")
    asked = time.monotonic()
    interrupt(job)
    assert job.process is not None
    assert job.process.wait(60) == 130
    # The supervisor's eight seconds, where it does not heed an interrupt.
    assert time.monotonic() - asked < 15
    assert newest_bundle(job.run.checkpoints).step == 0
    assert "interrupted; the same command goes on" in job.log.read_text().splitlines()[-1]


@pytest.mark.long
def test_an_epochs_last_step_is_saved_as_a_whole_epoch(on_one_rank: Command, job: Command) -> None:
    """Where the request comes just then."""
    job.start()
    attempt = job.run.attempts("train") / "attempt-001"
    wait_until(lambda: STEPS_PER_EPOCH - 1 in job.steps(), "the epoch's last step but one")
    stopping.ask(attempt, "a test")
    assert job.process is not None
    assert job.process.wait(60) == SAVED
    step = newest_bundle(job.run.checkpoints).step
    # On a busy machine it may have been the step after.
    assert STEPS_PER_EPOCH <= step == max(job.steps())
    assert end_of(job) == 0
    assert differences(on_one_rank.outcome(), job.outcome()) == []


@pytest.mark.long
def test_two_ranks_end_by_themselves_after_the_same_step_and_lose_no_bit(tmp_path: Path) -> None:
    reference = undisturbed(tmp_path, 2)
    with ended_afterwards(new(tmp_path, "stopped")) as job:
        job.begin_like(reference)
        assert stopped(job, terminate, after=3) == SAVED
        step = newest_bundle(job.run.checkpoints).step
        assert step == max(job.steps())
        # Rank 1 was not waiting for rank 0 in an AllReduce.
        log = job.run.attempts("train") / "attempt-001" / "workers" / "worker_1.log"
        assert f"stopped on request (SIGTERM) after step {step}," in log.read_text()
        assert end_of(job) == 0
        assert differences(reference.outcome(), job.outcome()) == []


def test_its_exit_code_is_its_own() -> None:
    assert EXIT_CODES[SAVED].startswith("stopped on request")
