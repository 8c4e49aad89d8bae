"""`make serve`, started for real."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.flows.conftest import answers, eventually

PROJECT = Path(__file__).parents[2]


def processes_with(marker: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MIXNET_HOME") == marker:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_folder_without_deployments_is_one_line_that_says_where_they_come_from(
    tmp_path: Path,
) -> None:
    serve = subprocess.run(
        [sys.executable, "-m", "mixnet_flows.infra.serve"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert serve.returncode == 2
    (line,) = serve.stderr.splitlines()
    assert f"no prefect.yaml in {tmp_path}: `mixnet deployments .` writes it" in line
    assert list(tmp_path.iterdir()) == []


def program_below(serve: subprocess.Popen[str], word: str) -> psutil.Process | None:
    """The process of `prefect WORD start`."""
    for process in psutil.Process(serve.pid).children(recursive=True):
        try:
            if process.cmdline()[3:5] == [word, "start"]:
                return process
        except psutil.Error:
            continue
    return None


@pytest.mark.slow
def test_serve_deploys_and_nothing_of_it_survives_its_kill(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "MIXNET_HOME": str(tmp_path)}
    serve = subprocess.Popen(
        [sys.executable, "-m", "infra.serve", f"--port={port}"],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serve.stdout is not None
    try:
        assert serve.stdout.readline().startswith("dashboard"), "see server.log"
        listed = subprocess.run(
            [sys.executable, "-m", "prefect", "deployment", "ls"],
            env={**environment, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        for name in ("mixnet/train", "mixnet/finetune", "mixnet-revalidate/releases"):
            assert name in listed.stdout
        # A run goes on without its server for a while; it must come back.
        server = program_below(serve, "server")
        assert server is not None
        server.kill()
        eventually(lambda: program_below(serve, "server") not in (None, server), 60)
        eventually(lambda: answers(f"http://127.0.0.1:{port}/api"), 90)
    finally:
        serve.kill()
        serve.communicate()
    deadline = time.monotonic() + 12
    while processes_with(str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_with(str(tmp_path)) == []
