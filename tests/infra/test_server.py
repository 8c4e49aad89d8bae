"""The server alone: what it is told, what runs are not told, what it refuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings.models.root import Settings

from mixnet_flows.infra import database, password
from mixnet_flows.infra.database import database_of
from mixnet_flows.infra.server import Server
from tests.flows.conftest import answers, eventually

SECRET, DATABASE_SECRET = "admin:s3cr3t-Of-The-Dashboard", "s3cr3t-Of-The-Database"
URL = f"postgresql+asyncpg://u:{DATABASE_SECRET}@127.0.0.1/prefect"
# As a shell and `make` leave it.
FOUND = {
    "PATH": "/bin",
    "PREFECT_API_URL": "https://elsewhere/api",
    "PREFECT_PROFILE": "another",
    "PGPASSWORD": DATABASE_SECRET,
    "PGUSER": "u",
    database.VARIABLE: URL,
    password.VARIABLE: SECRET,
    "DATABASE": URL,
    "MAKEFLAGS": f" -- DATABASE={URL}",
    "MAKEOVERRIDES": f"DATABASE={URL}",
    "MFLAGS": "-s",
}


def server(host: str = "127.0.0.1") -> Server:
    return Server(host, 4321, Path("/h"), database_of(None, {database.VARIABLE: URL}), SECRET)


def test_a_run_is_told_the_password_of_the_server_and_nothing_of_the_database() -> None:
    told = server().client_environment(FOUND)
    assert DATABASE_SECRET not in str(told)
    assert {name for name, value in told.items() if SECRET in value} == {"PREFECT_API_AUTH_STRING"}
    assert told["PATH"] == "/bin"
    assert told["PREFECT_API_URL"] == "http://127.0.0.1:4321/api"
    assert "PREFECT_PROFILE" not in told


def test_the_server_is_told_each_secret_once_and_shows_none() -> None:
    told = server().environment(FOUND)
    assert {name for name, value in told.items() if SECRET in value} == {
        "PREFECT_SERVER_API_AUTH_STRING"
    }
    assert {name for name, value in told.items() if DATABASE_SECRET in value} == {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        # asyncpg takes it from there where the URL has none.
        "PGPASSWORD",
    }
    shown = f"{server()!r} {' '.join(server().command)}"
    assert SECRET not in shown
    assert DATABASE_SECRET not in shown


def test_prefect_reads_what_the_server_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = server().environment({})
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.server.database.connection_url is not None
    assert settings.server.database.connection_url.get_secret_value() == URL
    assert settings.server.api.auth_string is not None
    assert settings.server.ui.api_url == "/api"
    assert settings.server.ui.show_promotional_content is False
    assert settings.server.analytics_enabled is False
    assert settings.server.concurrency.lease_storage.endswith(".filesystem")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:4321"),
        ("0.0.0.0", "http://127.0.0.1:4321"),
        ("::", "http://[::1]:4321"),
        ("::1", "http://[::1]:4321"),
        ("192.0.2.7", "http://192.0.2.7:4321"),
        ("server.example.org", "http://server.example.org:4321"),
    ],
)
def test_this_machine_reaches_it_where_it_listens(host: str, url: str) -> None:
    assert server(host).url == url


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        ("server", ["--host", "0.0.0.0"], "is reached from other machines: expected USER:PASSWORD"),
        ("server", ["--keep-days", "0"], "--keep-days 0: expected at least 1"),
        ("server", ["--database", URL], "a password in --database is shown to everybody"),
        ("serve", ["--port", "0"], "--port 0: expected 1 to 65535"),
        ("serve", ["--port", "x"], "argument --port: invalid int value: 'x'"),
        ("serve", ["--databse", URL], "unrecognized arguments"),
        ("serve", ["--database", "prefect"], "the database is no URL of PostgreSQL"),
    ],
)
def test_a_slip_is_one_line_that_shows_no_secret(
    module: str, options: list[str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "prefect.yaml").touch()
    done = subprocess.run(
        [sys.executable, "-m", f"mixnet_flows.infra.{module}", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert said in line
    assert DATABASE_SECRET not in line
    assert [file.name for file in tmp_path.iterdir()] == ["prefect.yaml"]


@pytest.mark.slow
def test_it_becomes_prefects_server_and_ends_with_its_signal(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mixnet_flows.infra.server", f"--port={port}"]
    process = subprocess.Popen(
        [*command, "--home", str(tmp_path / "home")],
        env={**os.environ, password.VARIABLE: SECRET},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/api"), 90)
        shown = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert "prefect" in shown
        assert "s3cr3t" not in shown
        assert (tmp_path / "home" / "prefect.db").is_file()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
