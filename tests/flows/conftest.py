"""A real Prefect server, pool, deployments and worker: the steps of docs/how-to/deployments.md."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest

from mixnet_core.processes.launch import ATTEMPT_VARIABLE
from mixnet_core.runs.run_dir import RunDir, Workspace
from tests.data.samples import write_image_folder

PROJECT = Path(__file__).parents[2]
PREFECT = [sys.executable, "-m", "prefect"]
RUN = "tiny"
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

# How much slower a machine may be that does other work too.
BUSY = 6
T = TypeVar("T")


def clean_environment(**changes: str) -> dict[str, str]:
    """This process's, without any Prefect setting of whoever runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    return {**kept, "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", **changes}


@dataclass(frozen=True)
class Deployed:
    """What a test needs of the running server.

    Attributes:
        api: its URL.
        workspace: MIXNET_HOME of the worker.
    """

    api: str
    workspace: Workspace
    environment: dict[str, str]

    def cli(self, *arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """`prefect ARGUMENTS`, with its output as one text."""
        return subprocess.run(
            [*PREFECT, *arguments],
            cwd=PROJECT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )

    def run(self, deployment: str, *options: str, **parameters: Any) -> str:
        """Asks for a run; its id."""
        done = self.cli("deployment", "run", deployment, *options, *as_options(parameters))
        assert done.returncode == 0, done.stdout
        found = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", done.stdout)
        assert found, done.stdout
        return found[0]

    def state(self, flow_run: str) -> dict[str, Any]:
        state: dict[str, Any] = self._get(f"flow_runs/{flow_run}")["state"]
        return state

    def final_state(self, flow_run: str, seconds: float = 120) -> dict[str, Any]:
        def final() -> dict[str, Any] | None:
            state = self.state(flow_run)
            return state if state["type"] in FINAL else None

        return eventually(final, seconds)

    def logged(self, flow_run: str, text: str) -> list[str]:
        """The run's log lines that hold `text`; they arrive some seconds after they are written."""
        where = {"logs": {"flow_run_id": {"any_": [flow_run]}}, "limit": 200}
        rows = asked("POST", f"{self.api}/logs/filter", where)
        return [row["message"] for row in rows if text in row["message"]]

    def names(self, flow_run: str) -> dict[str, Any]:
        """What the dashboard calls the flow run and its task runs."""
        where = {"task_runs": {"flow_run_id": {"any_": [flow_run]}}}
        tasks = asked("POST", f"{self.api}/task_runs/filter", where)
        return {
            "flow run": self._get(f"flow_runs/{flow_run}")["name"],
            "task runs": [task["name"] for task in tasks],
        }

    def artifacts(self, flow_run: str) -> dict[str, dict[str, Any]]:
        """Key -> the run's newest artifact with it."""
        where = {"artifacts": {"flow_run_id": {"any_": [flow_run]}}}
        rows = asked("POST", f"{self.api}/artifacts/filter", where)
        return {row["key"]: row for row in sorted(rows, key=lambda row: str(row["created"]))}

    def _get(self, path: str) -> Any:
        return asked("GET", f"{self.api}/{path}")


def as_options(parameters: dict[str, Any]) -> list[str]:
    return [
        part for key, value in parameters.items() for part in ("-p", f"{key}={json.dumps(value)}")
    ]


def asked(method: str, url: str, body: Any = None) -> Any:
    """What the server answers; asked again where it says 503, as a busy SQLite makes it do."""

    def answer() -> httpx.Response | None:
        response = httpx.request(method, url, json=body, timeout=60)
        return None if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else response

    response = eventually(answer, 60).raise_for_status()
    return response.json() if response.content else None


def eventually(look: Callable[[], T | None], seconds: float) -> T:
    """The first value that is something; fails after many times what an idle machine takes.

    Args:
        seconds: enough on an idle machine. None of these waits is about speed, and a busy machine
            compiles a network of two ranks in minutes.
    """
    deadline = time.monotonic() + BUSY * seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    pytest.fail(f"it did not come about in {BUSY * seconds} s")


def stage_processes(workspace: Workspace) -> list[psutil.Process]:
    """Every process of a stage that works in the workspace, however deep below msrun."""
    found = []
    for process in psutil.process_iter():
        try:
            attempt = process.environ().get(ATTEMPT_VARIABLE, "")
        except psutil.Error:
            continue
        if attempt.startswith(str(workspace.root)) and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def rows(run: RunDir, event: str) -> list[dict[str, Any]]:
    """The training's metrics of one kind so far."""
    if not run.metrics.is_file():
        return []
    lines = run.metrics.read_text().split("\n")[:-1]
    return [row for row in map(json.loads, lines) if row["event"] == event]


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def served(root: Path, **changes: str) -> Iterator[dict[str, str]]:
    """A server of its own on a free port; an environment whose Prefect asks it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    environment = clean_environment(
        PREFECT_HOME=str(root / "prefect"), PREFECT_API_URL=api, **changes
    )
    server = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with started([*PREFECT, *server], environment, root / "server.log"):
        eventually(lambda: answers(api), 90)
        yield environment


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    root = tmp_path_factory.mktemp("deployed")
    workspace = Workspace(root / "workspace")
    # Asking for work every second instead of every 15: a test waits for each.
    worker = ["worker", "start", "--pool", "mixnet", "--name", "tests"]
    with ExitStack() as stack:
        environment = stack.enter_context(served(root, MIXNET_HOME=str(workspace.root)))
        quick = {**environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
        deployed = Deployed(environment["PREFECT_API_URL"], workspace, environment)
        set_up(deployed, root)
        done = deployed.cli("--no-prompt", "deploy", "--all")
        assert done.returncode == 0, done.stdout
        stack.enter_context(started([*PREFECT, *worker], quick, root / "worker.log"))
        yield deployed


def set_up(deployed: Deployed, folder: Path) -> None:
    command = [sys.executable, "infra/setup.py", "--folder", str(folder)]
    subprocess.run(command, cwd=PROJECT, env=deployed.environment, check=True)


def answers(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    return write_image_folder(
        folder, {"ant": 16, "bee": 16, "cat": 16}, {"ant": 4, "bee": 4, "cat": 4}
    )


def tiny(images: Path, run: str, **changes: Any) -> dict[str, Any]:
    return {
        "data": str(images),
        "run": run,
        "epochs": 4,
        "global_batch": 4,
        "ranks": 2,
        "settings": {"input.image_size": 8, "training.log_every_steps": 1},
        **changes,
    }


@pytest.fixture(scope="session")
def published(deployed: Deployed, images: Path) -> str:
    """`prefect deployment run --watch`, with a worker of msrun killed on the way; the run's id."""
    run = deployed.workspace.run(RUN)
    command = [
        *PREFECT, "deployment", "run", "mixnet/train", "--watch", *as_options(tiny(images, RUN))
    ]  # fmt: skip
    watching = subprocess.Popen(
        command,
        cwd=PROJECT,
        env=deployed.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    eventually(lambda: rows(run, "epoch"), 240)
    # The whole bundle is there only after the row.
    eventually(lambda: list(run.checkpoints.glob("[!.]*")), 20)
    worker_of(deployed, "1").send_signal(signal.SIGKILL)
    output, _ = watching.communicate(timeout=1800)
    assert watching.returncode == 0, output
    found = [word for word in output.replace("/", " ").split() if word.count("-") == 4]
    return found[0]


def worker_of(deployed: Deployed, rank: str) -> psutil.Process:
    return next(
        process
        for process in stage_processes(deployed.workspace)
        if process.environ().get("RANK_ID") == rank
        and process.environ().get("MS_ROLE") == "MS_WORKER"
    )
