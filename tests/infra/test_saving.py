"""What a worker's stop does to the runs below it, on processes that stand for stages."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mixnet_core.processes.launch import ATTEMPT_VARIABLE
from mixnet_core.processes.stopping import NOTICE_VARIABLE
from mixnet_flows.infra.saving import let_runs_save, let_runs_start

# Saves, as training does, once the file is there; or does not look for it.
SAVES = """
import os, pathlib, sys, time
print("begun", flush=True)
while not os.path.exists(os.environ["MIXNET_STOP_FILE"]): time.sleep(0.05)
time.sleep(0.5)
pathlib.Path(sys.argv[1]).touch()
"""
DOES_NOT = "import time; print('begun', flush=True); time.sleep(600)"


@contextmanager
def stage(program: str, saved: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(saved)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_run_that_knows_the_file_has_saved_when_it_returns(tmp_path: Path) -> None:
    stop, saved = tmp_path / "stop", tmp_path / "saved"
    variables = {NOTICE_VARIABLE: str(stop), ATTEMPT_VARIABLE: str(tmp_path)}
    with stage(SAVES, saved, **variables):
        assert let_runs_save(stop, 60) == 0
        assert saved.exists()
    # Of the worker before, it must not stop the runs of the next one.
    let_runs_start(stop)
    let_runs_start(stop)
    assert not stop.exists()


def test_it_waits_for_no_process_of_another_worker_and_no_worker(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    other = {NOTICE_VARIABLE: str(tmp_path / "other"), ATTEMPT_VARIABLE: str(tmp_path)}
    begun = time.monotonic()
    with (
        stage(DOES_NOT, stop, **other),
        stage(DOES_NOT, stop, **{NOTICE_VARIABLE: str(stop)}),
    ):
        assert let_runs_save(stop, 60) == 0
    assert time.monotonic() - begun < 30


def test_what_does_not_end_is_waited_for_no_longer_than_said(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    variables = {NOTICE_VARIABLE: str(stop), ATTEMPT_VARIABLE: str(tmp_path)}
    with stage(DOES_NOT, stop, **variables):
        assert let_runs_save(stop, 0.5) == 1


@pytest.mark.parametrize("left", [0, 1])
def test_the_command_of_the_unit_says_whether_all_have_ended(tmp_path: Path, left: int) -> None:
    stop = tmp_path / "stop"
    variables = {NOTICE_VARIABLE: str(stop), ATTEMPT_VARIABLE: str(tmp_path)}
    command = [sys.executable, "-m", "mixnet_flows.infra.saving", str(stop), "--seconds", "3"]
    with stage(DOES_NOT if left else SAVES, tmp_path / "saved", **variables) as process:
        threading.Thread(target=process.wait).start()
        assert subprocess.run(command, check=False).returncode == left
