"""Training that is stopped, killed or out of disk: it goes on from its last whole checkpoint."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mixnet_core.checkpoints.bundle import DAMAGED_PREFIX, WEIGHTS, newest_bundle, read_contents
from mixnet_core.errors import JobFailed, MachineError
from mixnet_core.processes import child
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.ticks import Tick
from mixnet_core.runs.values import PreparedDataset, TrainedRun
from mixnet_core.stages import restarts
from mixnet_core.stages.context import open_context
from mixnet_core.stages.prepare import prepare
from mixnet_core.stages.train import train
from mixnet_core.storage.files import read_json
from mixnet_core.train.metrics import read_metrics
from tests.faults.job import JOB, Job, differences
from tests.marked import wait_until
from tests.small_disk import small_disk

pytestmark = pytest.mark.faults

STEPS = 24


class Training:
    """One run in a workspace of its own, with what its watcher was told."""

    def __init__(self, workspace: Workspace, dataset: PreparedDataset | None, **more: Any) -> None:
        settings = JOB | {"training.epochs": 2, "devices.ranks": 2, "devices.stall_seconds": 30.0}
        settings |= {key.replace("__", "."): value for key, value in more.items()}
        self.recipe: Recipe = load_recipe("digits", settings)
        self.told: list[Tick] = []
        # Bytes that `filled` leaves on the disk.
        self.spared = 1 << 18
        self.context = open_context(self.recipe, workspace, run="r").watched_by(self.told.append)
        self.run, self.recipe = self.context.run, self.context.recipe
        self.dataset = dataset or prepare(self.context)

    def train(self) -> TrainedRun:
        return train(self.context, self.dataset, None)

    def outcome(self) -> dict[str, Any]:
        return Job(Workspace(self.run.root.parents[1]), "r", "").outcome()

    def milestones(self) -> list[str]:
        return [tick.detail for tick in self.told if tick.milestone]

    def pid(self, rank: int) -> int:
        """Of the newest attempt's."""
        newest = max(self.run.attempts("train").glob("attempt-*"))
        return int(read_json(newest / child.process_file(str(rank))))

    def later(self, *disturbances: Callable[[], None]) -> threading.Thread:
        """Each when another checkpoint than before is there; beside the call that trains."""

        def disturb() -> None:
            for act in disturbances:
                before = {path.name for path in self.run.checkpoints.glob("step-*")}
                wait_until(
                    lambda before=before: bool(  # type: ignore[misc]
                        {path.name for path in self.run.checkpoints.glob("step-*")} - before
                    ),
                    "another checkpoint",
                    seconds=240,
                )
                act()

        thread = threading.Thread(target=disturb)
        thread.start()
        return thread


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Training:
    training = Training(Workspace(tmp_path_factory.mktemp("undisturbed")), None)
    assert training.train().steps == STEPS
    return training


@pytest.fixture
def begin(undisturbed: Training) -> Callable[..., Training]:
    """Another run of the same recipe, with the graphs of the first to save time."""

    def begin(folder: Path, **more: Any) -> Training:
        training = Training(Workspace(folder), undisturbed.dataset, **more)
        shutil.copytree(undisturbed.run.graphs, training.run.graphs)
        return training

    return begin


def test_a_stopped_rank_and_then_a_killed_one_cost_two_restarts_and_no_bit(
    begin: Callable[..., Training], undisturbed: Training, tmp_path: Path
) -> None:
    training = begin(tmp_path, devices__stall_seconds=4.0)
    thread = training.later(
        lambda: os.kill(training.pid(1), signal.SIGSTOP),
        lambda: os.kill(training.pid(0), signal.SIGKILL),
    )
    trained = training.train()
    thread.join()

    assert differences(undisturbed.outcome(), training.outcome()) == []
    assert trained.resumed_from_step > 0
    stopped, killed = [text for text in training.milestones() if text.startswith("stopped: ")]
    assert "made no progress for 4 s (rank 1 is stopped (SIGSTOP))" in stopped
    assert "on rank 0 was ended by SIGKILL, from outside: trying again helps" in killed
    for text, attempt in ((stopped, "attempt-001"), (killed, "attempt-002")):
        assert text.partition("going on from step ")[2].isdigit()
        logs = training.run.attempts("train") / attempt / "workers"
        assert {path.name for path in logs.iterdir()} >= {"worker_0.log", "worker_1.log"}
    # MindSpore leaves the signal alone that a rank writes its stacks at.
    log = training.run.attempts("train") / "attempt-001" / "workers" / "worker_0.log"
    assert "mixnet_core/train/loop.py" in log.read_text().partition("most recent call first")[2]
    # The bar goes back to the checkpoint, never beyond the end, and arrives.
    assert all(tick.total == STEPS * 4 and tick.done <= tick.total for tick in training.told)
    assert training.told[-1].done == STEPS * 4
    resumed = [text for text in training.milestones() if text.startswith("resuming after step ")]
    assert len(resumed) == 2
    left = [p for p in psutil.process_iter() if str(tmp_path) in " ".join(_command(p))]
    assert left == []


def killed_at_once(training: Training, attempt: str) -> threading.Thread:
    """Kills rank 0 of an attempt as soon as it has begun."""

    def kill() -> None:
        process = training.run.attempts("train") / attempt / child.process_file("0")
        wait_until(process.exists, "rank 0 has begun", seconds=60)
        os.kill(int(read_json(process)), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_failure_before_any_progress_starts_it_again_after_a_pause_and_costs_no_bit(
    begin: Callable[..., Training],
    undisturbed: Training,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(restarts, "PAUSES", (0.5, 1.0))
    training = begin(tmp_path)
    threads = [killed_at_once(training, f"attempt-{number:03d}") for number in (1, 2)]
    training.train()
    for thread in threads:
        thread.join()
    assert differences(undisturbed.outcome(), training.outcome()) == []
    first, second = [text for text in training.milestones() if text.startswith("stopped: ")]
    assert "on rank 0 was ended by SIGKILL" in first
    assert first.endswith("from step 0 in 0.5 s, restart 1 of 3 without a newer checkpoint")
    assert second.endswith("from step 0 in 1 s, restart 2 of 3 without a newer checkpoint")


def test_after_as_many_restarts_as_stated_it_is_left_to_the_caller(
    begin: Callable[..., Training], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "PAUSES", (0.5,))
    training = begin(tmp_path, devices__restarts=1)
    threads = [killed_at_once(training, f"attempt-{number:03d}") for number in (1, 2)]
    with pytest.raises(JobFailed, match="ended by SIGKILL") as caught:
        training.train()
    for thread in threads:
        thread.join()
    assert caught.value.retryable
    given_up = "given up after 1 restart in a row without a newer checkpoint"
    assert training.milestones()[-1] == given_up
    assert len(list(training.run.attempts("train").iterdir())) == 2


def test_a_damaged_newest_checkpoint_is_said_set_aside_and_made_again(
    undisturbed: Training, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed.run.root, tmp_path / "runs" / "r")
    training = Training(Workspace(tmp_path), undisturbed.dataset)
    newest = training.run.checkpoints / f"step-{STEPS:08d}"
    content = bytearray((newest / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (newest / WEIGHTS).write_bytes(content)
    training.train()
    assert training.milestones()[0] == (
        f"checkpoint {newest.name} is damaged: kept as {DAMAGED_PREFIX}{newest.name}, not used"
    )
    assert differences(undisturbed.outcome(), training.outcome()) == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 256 MB."""
    with small_disk(tmp_path / "disk", "256m") as folder:
        yield folder


@contextlib.contextmanager
def filled(disk: Path, training: Training) -> Iterator[threading.Event]:
    """Takes all room of a disk once there is a checkpoint, until the event is set."""
    filler, over = disk / "filler", threading.Event()

    def fill() -> None:
        """Takes all but what rows of the metrics need, again and again: a save takes and gives."""
        with filler.open("wb", buffering=0) as file:
            while not over.wait(0.01):
                free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
                with contextlib.suppress(OSError):
                    file.write(bytes(max(0, free - training.spared)))
        filler.unlink()

    thread = training.later(fill)
    try:
        yield over
    finally:
        over.set()
        thread.join()


def test_a_disk_that_stays_full_leaves_the_checkpoint_before_and_says_so_in_a_line(
    begin: Callable[..., Training], undisturbed: Training, disk: Path
) -> None:
    training = begin(disk, devices__full_disk_seconds=3.0)
    with filled(disk, training), pytest.raises(MachineError) as caught:
        training.train()
    message = str(caught.value)
    assert "\n" not in message
    assert str(training.run.checkpoints) in message
    assert "No space left on device" in message
    assert "free space" in message
    assert "are as they were" in message
    assert not caught.value.retryable
    newest = newest_bundle(training.run.checkpoints).path
    assert newest is not None
    step = read_contents(newest).position.step
    assert 0 < step < STEPS

    assert training.train().resumed_from_step == step
    assert differences(undisturbed.outcome(), training.outcome()) == []


@pytest.mark.parametrize("spared", [1 << 18, 0], ids=["room for rows", "no room at all"])
def test_a_full_disk_that_gets_room_again_costs_time_only_however_long_it_takes(
    spared: int,
    begin: Callable[..., Training],
    undisturbed: Training,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whatever waited in a collective call, or gave no sign, would have ended long before.
    monkeypatch.setenv("MS_CPU_COMM_OP_TIMEOUT", "20")
    monkeypatch.setenv("MS_RECEIVE_MSG_TIMEOUT", "20")
    # The undisturbed run's own recipe, whose graph is taken.
    training = begin(disk)
    training.spared = spared
    with filled(disk, training) as over:

        def give_room() -> None:
            wait_until(
                lambda: any("is full" in text for text in training.milestones()),
                "the full disk is said",
                seconds=240,
            )
            over.wait(50)
            over.set()

        giver = threading.Thread(target=give_room)
        giver.start()
        training.train()
        giver.join()
    assert len(list(training.run.attempts("train").iterdir())) == 1
    assert differences(undisturbed.outcome(), training.outcome()) == []
    full, again = [text for text in training.milestones() if "room" in text or "full" in text]
    assert full.startswith(f"the disk of {training.run.root} is full")
    assert again.startswith("there is room again after ")
    kept = {"step", "epoch", "checkpoint"}

    def rows(of: Training) -> list[tuple[Any, ...]]:
        every = read_metrics(of.run.metrics)
        return [(row["event"], row["step"]) for row in every if row["event"] in kept]

    assert rows(training) == rows(undisturbed)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
