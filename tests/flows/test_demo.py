"""How the demo begins and how it is stopped; its whole way takes minutes and is `make demo`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mixnet_core.runs.run_dir import Workspace
from tests.flows.conftest import PROJECT, clean_environment, eventually, stage_processes

DEMO = [sys.executable, "-m", "mixnet_flows.demo", "--workspace"]


def fails(workspace: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, str(workspace)],
        cwd=PROJECT,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_an_unwritable_workspace_is_one_line_before_prefect_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = fails(tmp_path / "file" / "workspace")
    assert done.returncode == 3
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("demo: cannot write")


def test_missing_scikit_learn_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['sklearn'] = None\n")
    done = fails(tmp_path / "workspace", PYTHONPATH=str(tmp_path))
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "scikit-learn" in line
    assert not (tmp_path / "workspace" / "prefect").exists()


@pytest.mark.slow
def test_a_killed_demo_leaves_no_server(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from mixnet_flows.temporary_server import *\n"
        "start_temporary_server(Path(sys.argv[1])); print('up', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=PROJECT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(below) > 1
        process.kill()
    eventually(lambda: not any(child.is_running() for child in below), 10)


@pytest.mark.slow
def test_ctrl_c_in_the_middle_ends_in_one_line_and_leaves_no_process(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    # The user's own server, which is down and must not be asked.
    environment = clean_environment(PREFECT_API_URL="http://127.0.0.1:9/api")
    process = subprocess.Popen(
        [*DEMO, str(workspace.root)],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A terminal sends Ctrl-C to a whole group.
        start_new_session=True,
    )
    with process:
        try:
            eventually(lambda: process.poll() is not None or stage_processes(workspace), 120)
            below = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGINT)
            output, errors = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    assert output == ""
    assert errors.splitlines()[-1].startswith("demo: interrupted")
    assert "Traceback" not in errors
    eventually(lambda: not stage_processes(workspace), 10)
    eventually(lambda: not any(child.is_running() for child in below), 10)
