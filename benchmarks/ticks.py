"""`ticks`: 48 hours of a training with a tick a second, replayed against PostgreSQL.

Two ways of showing a tick: Prefect's `update_progress_artifact`, which emits an event each time, on
a server as Prefect sets it up; and writing the artifact's row over, on a server as `make serve`
sets it up. Then how large the database is, and how long the dashboard's questions take over HTTP.

The hours pass in minutes, and PostgreSQL would clean up for these minutes: it is told to look each
second instead of each minute.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from benchmarks.options import Options, Section
from benchmarks.rounds import markdown, say, significant
from mixnet_core.errors import MachineError, TransientError
from mixnet_flows.infra.database import Database
from mixnet_flows.infra.retention import retention
from mixnet_flows.infra.running import Program, running
from mixnet_flows.infra.server import Server
from mixnet_flows.infra.store import free_port
from tests.infra.postgres import Postgres, is_installed, running_postgres

HOURS = 48
EPOCHS = 600
_JOB = "benchmarks.jobs.ticks_case"
_CASES = {"event": "an event each, as Prefect does it", "row": "the row written over, as here"}
_ASKED = 20
_READY_SECONDS = 120
# The server trims events when it starts.
_TRIM_SECONDS = 300
_MB = 1_000_000


def measure(options: Options, hours: float = HOURS) -> Section:
    """Replays both ways, a database each.

    Raises:
        MachineError: there is no PostgreSQL.
    """
    if not is_installed():
        raise MachineError("no PostgreSQL on this machine: make services")
    rows, table = [], []
    with running_postgres() as postgres:
        postgres.sql("ALTER SYSTEM SET autovacuum_naptime = '1s'", "SELECT pg_reload_conf()")
        for shown, words in _CASES.items():
            row = {"case": shown, **_replayed(postgres, shown, hours)}
            say(f"{words}: {json.dumps(row)}")
            rows.append(row)
            table.append(
                [
                    words,
                    f"{row['events']}",
                    significant(row["mb"]),
                    significant(row["mb_after"]),
                    *(significant(value) for value in row["ms"].values()),
                ]
            )
    header = [
        "a tick is",
        "events",
        "MB",
        "MB after trimming",
        *(f"{name}, ms" for name in _questions("", hours)),
    ]
    return Section(
        title=f"{hours:g} hours of a training with a tick a second, in PostgreSQL",
        table=markdown(header, table),
        rows=rows,
    )


def _replayed(postgres: Postgres, shown: str, hours: float) -> dict[str, Any]:
    name = f"ticks_{shown}"
    postgres.sql(f"CREATE DATABASE {name}")
    url = postgres.url(name)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", _JOB, f"{hours}", f"{EPOCHS}", shown],
            env={
                **os.environ,
                "PREFECT_HOME": folder,
                "PREFECT_SERVER_DATABASE_CONNECTION_URL": url,
            },
            stdout=subprocess.PIPE,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        found["mb"] = _size(postgres, name)
        found["tables_mb"] = _tables(postgres, name)
        server = Server("127.0.0.1", free_port(), Path(folder), Database(url, name))
        environment = server.environment()
        if shown == "event":
            for variable in retention():
                del environment[variable]
        with running(Program("server", server.command, environment, Path(folder))):
            _await_ready(server)
            _await_trimmed(postgres, name, days=1 if shown == "row" else 7)
            postgres.sql("VACUUM ANALYZE", database=name)
            found["mb_after"] = _size(postgres, name)
            found["ms"] = _asked(server, found["flow_run"], hours)
    return found


def _size(postgres: Postgres, name: str) -> float:
    (row,) = postgres.sql(f"SELECT pg_database_size('{name}') AS bytes")
    return float(row["bytes"]) / _MB


def _tables(postgres: Postgres, name: str) -> dict[str, float]:
    """Megabytes of the five largest, with their indexes."""
    rows = postgres.sql(
        "SELECT relname, pg_total_relation_size(relid) AS bytes FROM pg_stat_user_tables "
        "ORDER BY bytes DESC LIMIT 5",
        database=name,
    )
    return {row["relname"]: row["bytes"] / _MB for row in rows}


def _await_ready(server: Server) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{server.url}/api/ready").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TransientError(f"no server on port {server.port}")


def _await_trimmed(postgres: Postgres, name: str, days: int) -> None:
    """Waits until no heartbeat is older than it may be."""
    old = (
        "SELECT count(*) AS n FROM events WHERE event = 'prefect.flow-run.heartbeat' "
        f"AND occurred < now() - interval '{days} days'"
    )
    deadline = time.monotonic() + _TRIM_SECONDS
    while postgres.sql(old, database=name)[0]["n"] and time.monotonic() < deadline:
        time.sleep(1)


def _questions(run: str, hours: float) -> Mapping[str, tuple[str, str, Any]]:
    """What the pages of the dashboard ask, each under the page's name."""
    of_run = {"flow_runs": {"id": {"any_": [run]}}}
    since = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    seen = {"filter": {"occurred": {"since": since, "until": datetime.now(UTC).isoformat()}}}
    return {
        "runs": ("POST", "flow_runs/paginate", {"sort": "START_TIME_DESC", "limit": 50}),
        "a run": ("GET", f"flow_runs/{run}", None),
        "its graph": ("GET", f"flow_runs/{run}/graph-v2", None),
        "its logs": (
            "POST",
            "logs/filter",
            {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200, "sort": "TIMESTAMP_ASC"},
        ),
        "its artifacts": ("POST", "artifacts/filter", {**of_run, "limit": 200}),
        "all artifacts": ("POST", "artifacts/latest/filter", {"limit": 200}),
        "events": ("POST", "events/filter", {**seen, "limit": 50}),
        "events counted": (
            "POST",
            "events/count-by/time",
            {**seen, "time_unit": "hour", "time_interval": 1},
        ),
    }


def _asked(server: Server, run: str, hours: float) -> dict[str, float]:
    """Milliseconds of each question, the median."""
    found = {}
    with httpx.Client(base_url=f"{server.url}/api/", timeout=60) as client:
        for name, (method, path, body) in _questions(run, hours).items():
            seconds = []
            for _ in range(_ASKED):
                start = time.perf_counter()
                client.request(method, path, json=body).raise_for_status()
                seconds.append(time.perf_counter() - start)
            found[name] = 1000 * statistics.median(seconds)
    return found
