"""Who is asked to save and stop, and what is said of it; trainings really stop in tests/train."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from pydantic.fields import FieldInfo

from mixnet_core.errors import InputError
from mixnet_core.processes import child, stopping
from mixnet_core.recipe.recipe import load_recipe, save_recipe
from mixnet_core.recipe.sections import Devices
from mixnet_core.runs.records import exclusive
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.stages import drain as draining
from mixnet_core.stages.drain import drain
from mixnet_core.storage.files import write_json
from tests.cli.conftest import Run, mixnet
from tests.marked import wait_until

__all__ = ["mixnet"]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Runs `idle` and `busy`, which do not exist as processes yet."""
    monkeypatch.setattr(draining, "_SECONDS_TO_END", 1.0)
    monkeypatch.setattr(draining, "_SECONDS_BETWEEN_ATTEMPTS", 1.0)
    made = Workspace(tmp_path / "w")
    for name in ("idle", "busy"):
        run = made.run(name)
        run.root.mkdir(parents=True)
        save_recipe(load_recipe("digits", {"devices.grace_seconds": 0}), run.recipe)
    return made


@pytest.fixture
def lock(workspace: Workspace) -> Iterator[ExitStack]:
    """Held on `busy`, as by whoever trains it."""
    with ExitStack() as stack:
        stack.enter_context(exclusive(workspace.run("busy")))
        yield stack


@pytest.fixture
def attempt(workspace: Workspace) -> Iterator[Path]:
    """Of `busy`, the newest; a process of this machine works on it."""
    attempts = workspace.run("busy").attempts("train")
    for number in (1, 999, 1000):
        (attempts / f"attempt-{number:03d}").mkdir(parents=True)
    folder = attempts / "attempt-1000"
    environment = {**os.environ, child.ATTEMPT_VARIABLE: str(folder)}
    command = [sys.executable, "-c", "import time; time.sleep(120)"]
    with subprocess.Popen(command, env=environment) as process:
        try:
            yield folder
        finally:
            process.kill()


def test_what_nobody_works_on_is_left_out(workspace: Workspace) -> None:
    assert drain(workspace) == ()
    assert drain(workspace, ["idle", "idle"]) == ()
    with pytest.raises(InputError, match="no run 'absent'"):
        drain(workspace, ["idle", "absent"])


@pytest.mark.usefixtures("lock")
def test_what_is_at_work_and_does_not_train_here_is_left_as_it_is(workspace: Workspace) -> None:
    (found,) = drain(workspace)
    assert (found.run, found.state) == ("busy", "left")
    assert "does not train on this machine" in found.line
    # Of another machine, or of a process that has ended.
    attempt = workspace.run("busy").attempts("train") / "attempt-001"
    attempt.mkdir(parents=True)
    assert drain(workspace) == (found,)
    assert stopping.requested(attempt) is None


@pytest.mark.usefixtures("lock")
def test_the_newest_attempt_is_asked_and_one_that_does_not_end_is_said(
    workspace: Workspace, attempt: Path, mixnet: Run
) -> None:
    asked: list[str] = []
    (found,) = drain(workspace, on_asked=asked.append)
    assert (found.state, asked) == ("runs", ["busy"])
    request = stopping.requested(attempt)
    assert request is not None
    assert (request.reason, request.retryable) == ("mixnet drain", False)
    code, out, err = mixnet("drain", "--all", "--workspace", str(workspace.root))
    assert code == 6
    assert out.startswith("busy: still runs ")
    assert "busy did not stop in time" in err.splitlines()[-1]


def test_a_run_in_its_pause_between_two_attempts_does_not_begin_the_next(
    workspace: Workspace, attempt: Path
) -> None:
    """It holds its lock and has no ranks."""
    attempts = workspace.run("busy").attempts("train")
    (attempts / "attempt-1001").mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from mixnet_core.processes import stopping\n"
        "from mixnet_core.runs.records import exclusive\n"
        "from mixnet_core.runs.run_dir import RunDir\n"
        "run = RunDir(Path(sys.argv[1]))\n"
        "with exclusive(run):\n"
        "    print('paused', flush=True)\n"
        "    stopping.wait(run.attempts('train'), 60)\n"
    )
    command = [sys.executable, "-c", code, str(workspace.run("busy").root)]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "paused\n"
            asked: list[str] = []
            (found,) = drain(workspace, on_asked=asked.append)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (found.state, asked) == ("stopped", ["busy"])
    assert "earlier checkpoints are kept, the same command goes on" in found.line
    assert "Stopped: stopped on request (mixnet drain) between two attempts" in err
    assert stopping.requested(attempt) is None


@pytest.mark.parametrize("said", ["stopped on request (mixnet drain) after step 7", ""])
def test_what_it_said_when_it_ended_is_told(
    workspace: Workspace, lock: ExitStack, attempt: Path, said: str
) -> None:
    def end() -> None:
        wait_until((attempt / stopping.REQUEST).exists, "it is asked")
        if said:
            failure = {"type": "Stopped", "message": said}
            write_json(attempt / child.failure_file("0"), failure)
        time.sleep(0.2)
        lock.close()

    thread = threading.Thread(target=end)
    thread.start()
    (found,) = drain(workspace, ["busy"])
    thread.join()
    assert found.state == "stopped"
    assert found.line.startswith(said or "ended without saving a step more")


@pytest.mark.usefixtures("lock")
def test_a_workspace_that_is_named_by_a_link_is_the_same_one(
    workspace: Workspace, attempt: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(workspace.root)
    (found,) = drain(Workspace(tmp_path / "link"))
    assert found.state == "runs"
    assert stopping.requested(attempt) is not None


@pytest.mark.usefixtures("lock", "attempt")
@pytest.mark.parametrize("names", [None, ["busy"]])
def test_a_recipe_that_was_damaged_meanwhile_keeps_no_training_from_being_asked(
    workspace: Workspace, names: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Devices.model_fields, "grace_seconds", FieldInfo(default=0.0))
    workspace.run("busy").recipe.write_text("{")
    (found,) = drain(workspace, names)
    assert found.state == "runs"


@pytest.mark.usefixtures("lock", "attempt")
def test_a_run_of_another_user_is_said_to_be_maybe_that(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hidden(_: psutil.Process) -> dict[str, str]:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "environ", hidden)
    (found,) = drain(workspace)
    assert found.state == "left"
    assert found.line.startswith("does not train on this machine now, or another user started it")


def test_the_command_wants_to_know_which_runs(mixnet: Run, workspace: Workspace) -> None:
    place = ("--workspace", str(workspace.root))
    for arguments in ((), ("busy", "--all")):
        code, _, err = mixnet("drain", *arguments, *place)
        assert (code, "which runs?" in err) == (2, True)
    assert mixnet("drain", "--all", *place) == (0, "nothing is at work\n", "")


def test_a_run_is_found_by_its_folder_alone(workspace: Workspace) -> None:
    """A folder that holds no run is none."""
    RunDir(workspace.root / "runs" / "odd").root.mkdir()
    assert drain(workspace) == ()
