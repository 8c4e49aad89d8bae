"""A run that is kept in a store goes on on another host, which shares no disk, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from mixnet_core.checkpoints.bundle import step_of
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.turns import newest_turn
from mixnet_core.storage.open import open_storage
from tests.faults.job import JOB, differences, outcome
from tests.marked import VARIABLE, assert_nothing_left, marked, wait_until
from tests.object_store import ObjectStore
from tests.tiny import options
from tests.train.jobs import rows

pytestmark = [pytest.mark.long, pytest.mark.slow]

EPOCHS = 2
STEPS = 24
# No figure: a busy machine takes minutes for what takes seconds on a quiet one.
MOST_SECONDS = 900
TAKEN = 2
LOST_SECONDS = 4


class Host:
    """A host with a workspace of its own, and its processes."""

    def __init__(self, root: Path, store: str | None = None) -> None:
        self.workspace, self.mark = Workspace(root), uuid.uuid4().hex
        more = {key.replace(".", "__"): value for key, value in JOB.items()}
        self._arguments = ["digits", "--run=r", f"--epochs={EPOCHS}", "--ranks=1", *options(**more)]
        if store is not None:
            self._arguments += [
                f"--set=devices.run_store={store}",
                f"--set=devices.lost_seconds={LOST_SECONDS}",
            ]
        root.mkdir()
        assert self._mixnet("prepare").wait() == 0, self.log

    @property
    def run(self) -> RunDir:
        return self.workspace.run("r")

    @property
    def log(self) -> str:
        return (self.workspace.root / "log.txt").read_text()

    def begin(self, graphs: RunDir | None = None) -> subprocess.Popen[bytes]:
        """Trains, with the graphs of another host's to save time."""
        if graphs is not None:
            shutil.copytree(graphs.graphs, self.run.graphs)
        return self._mixnet("train")

    def signal(self, number: int) -> None:
        """To every process at once, as a host that loses its power, or is suspended."""
        for process in marked(self.mark):
            process.send_signal(number)

    def _mixnet(self, stage: str) -> subprocess.Popen[bytes]:
        with (self.workspace.root / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [
                    sys.executable, "-m", "mixnet_core.cli", stage, *self._arguments,
                    f"--workspace={self.workspace.root}",
                ],
                env={**os.environ, VARIABLE: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Host:
    host = Host(tmp_path_factory.mktemp("hosts") / "undisturbed")
    assert host.begin().wait(MOST_SECONDS) == 0, host.log
    return host


@pytest.fixture
def store(s3_environment: ObjectStore) -> str:
    return f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def host(tmp_path: Path, store: str) -> Iterator[Callable[[str], Host]]:
    """Makes hosts of which nothing is left after the test."""
    with ExitStack() as stack:

        def make(name: str) -> Host:
            made = Host(tmp_path / name, store)

            def end() -> None:
                for process in marked(made.mark):
                    process.kill()

            stack.callback(end)
            return made

        yield make


def kept_step(store: str) -> int:
    turn = newest_turn(open_storage(f"{store}/r"))[1]
    kept = turn.kept if turn else {}
    return max((step_of(Path(path.split("/")[1])) for path in kept if "/" in path), default=0)


def wait_until_kept(host: Host, store: str, process: subprocess.Popen[bytes]) -> None:
    def kept() -> bool:
        assert process.poll() is None, host.log
        return 0 < kept_step(store) < STEPS

    wait_until(kept, "a checkpoint in the store", seconds=MOST_SECONDS)


def test_a_host_is_killed_and_another_one_ends_the_run_with_the_same_bytes(
    undisturbed: Host, host: Callable[[str], Host], store: str
) -> None:
    first, second = host("a"), host("b")
    process = first.begin(undisturbed.run)
    wait_until_kept(first, store, process)
    first.signal(signal.SIGKILL)
    process.wait()
    assert_nothing_left(first.mark)
    from_step = kept_step(store)
    # Nothing of the first host is there any more.
    shutil.rmtree(first.workspace.root)

    assert second.begin(undisturbed.run).wait(MOST_SECONDS) == 0, second.log
    assert f"fetching run r from its store, up to step {from_step}" in second.log
    assert f"resuming after step {from_step}" in second.log
    assert differences(outcome(undisturbed.run), outcome(second.run)) == []
    assert rows(second.run) == rows(undisturbed.run)
    assert kept_step(store) == STEPS


def test_a_host_that_was_suspended_and_replaced_ends_by_name_when_it_wakes(
    undisturbed: Host, host: Callable[[str], Host], store: str
) -> None:
    first, second = host("a"), host("b")
    process = first.begin(undisturbed.run)
    wait_until_kept(first, store, process)
    suspended = [*marked(first.mark)]
    for one in suspended:
        one.suspend()

    assert second.begin(undisturbed.run).wait(MOST_SECONDS) == 0, second.log
    assert "waiting for host " in second.log
    assert differences(outcome(undisturbed.run), outcome(second.run)) == []

    kept = newest_turn(open_storage(f"{store}/r"))[1]
    for one in suspended:
        try:
            one.resume()
        except psutil.NoSuchProcess:
            continue
    assert process.wait(MOST_SECONDS) == TAKEN, first.log
    last = first.log.splitlines()[-1]
    assert " goes on with run r in s3://" in last
    assert last.endswith("and keeps nothing there any more; let the other one go on")
    assert_nothing_left(first.mark)
    assert newest_turn(open_storage(f"{store}/r"))[1] == kept
