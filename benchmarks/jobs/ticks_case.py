"""Writes what one training's hours leave in Prefect's database, events and logs with its own code.

A tick is what `prefect.server.models.artifacts.update_artifact` writes.

Its arguments are hours, epochs, and how a tick is shown: `event` is what Prefect's
`update_progress_artifact` does, which emits an event for every update; `row` writes the artifact's
row over and nothing else. The database is PREFECT_SERVER_DATABASE_CONNECTION_URL's, and is made.
What an hour holds is at its time in the past, so that the last second is now.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from prefect.server.database import provide_database_interface
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.server.events.storage.database import write_events
from prefect.server.models import artifacts, flow_runs, flows, logs
from prefect.server.schemas import actions, core, states

# As prefect.yaml sets it.
_HEARTBEAT_SECONDS = 30
# As many events as the server's persister collects. So many ticks share a transaction here, which
# leaves no less to clean up than one each, and takes a tenth of the time.
_TICKS_AT_ONCE = 20
_URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
# Where epochs are long, a picture of its curves so often.
_CURVES_SECONDS = 300
_CURVES_LETTERS = 110_000


async def main(hours: float, epochs: int, shown: str) -> dict[str, Any]:
    database = provide_database_interface()
    await database.create_db()
    seconds = int(hours * 3600)
    begun = datetime.now(UTC) - timedelta(seconds=seconds)
    async with database.session_context(begin_transaction=True) as session:
        flow = await flows.create_flow(session=session, flow=core.Flow(name="mixnet"))
        run = await flow_runs.create_flow_run(
            session=session,
            flow_run=core.FlowRun(
                flow_id=flow.id, name="mixnet_s-1a2b3c4d", state=states.Running(), start_time=begun
            ),
        )
        bar = await _artifact(session, run.id, "mixnet-s-1a2b3c4d-train", "progress", 0.0)
        curves = await _artifact(session, run.id, "mixnet-s-1a2b3c4d-curves", "image", "")
    related = _related(run.id, flow.id)
    waiting: list[ReceivedEvent] = []
    lines: list[actions.LogCreate] = []
    changes: list[tuple[str, str, datetime, UUID]] = []
    events = 0

    async def write() -> None:
        nonlocal events
        async with connection.transaction():
            for table, column in (("artifact", "id"), ("artifact_collection", "latest_id")):
                await connection.executemany(
                    f"UPDATE {table} SET data = $1, description = $2, updated = $3 "
                    f"WHERE {column} = $4",
                    changes,
                )
        if waiting or lines:
            async with database.session_context(begin_transaction=True) as session:
                await write_events(session=session, events=waiting)
                if lines:
                    await logs.create_logs(session=session, logs=lines)
        events += len(waiting)
        for written in (changes, waiting, lines):
            written.clear()

    connection = await asyncpg.connect(os.environ[_URL].replace("+asyncpg", ""))
    # Flushing to disk takes longer than the rest, and nothing here is to outlive a crash.
    await connection.execute("SET synchronous_commit = off")
    began = time.perf_counter()
    for second in range(seconds):
        now = begun + timedelta(seconds=second)
        share, text = 100 * second / seconds, _detail(second, seconds, epochs)
        changes.append((json.dumps(share), text, now, bar))
        if second % _CURVES_SECONDS == 0:
            changes.append((json.dumps(_picture()), text, now, curves))
        if second % max(1, seconds // epochs) == 0:
            lines.append(_line(run.id, now, second))
        if shown == "event":
            resource = {"prefect.resource.id": f"prefect.artifact.{bar}"}
            change = {"data": share, "description": text}
            waiting.append(_event("prefect.artifact.updated", now, resource, related, change))
        if second % _HEARTBEAT_SECONDS == 0:
            resource = {
                "prefect.resource.id": f"prefect.flow-run.{run.id}",
                "prefect.resource.name": "mixnet_s-1a2b3c4d",
            }
            waiting.append(_event("prefect.flow-run.heartbeat", now, resource, related, {}))
        if second % _TICKS_AT_ONCE == 0:
            await write()
    await write()
    await connection.close()
    return {
        "flow_run": str(run.id),
        "ticks": seconds,
        "events": events,
        "ms_a_tick": 1000 * (time.perf_counter() - began) / seconds,
    }


async def _artifact(session: Any, run: UUID, key: str, kind: str, data: Any) -> UUID:
    made = await artifacts.create_artifact(
        session=session,
        artifact=core.Artifact(key=key, type=kind, data=data, flow_run_id=run),
    )
    return made.id


def _detail(second: int, seconds: int, epochs: int) -> str:
    epoch = 1 + second * epochs // seconds
    loss = 2 + second % 97 / 100
    return f"train of mixnet_s-1a2b3c4d: epoch {epoch}/{epochs}, loss {loss:.3f}, 2410 img/s"


def _picture() -> str:
    """A new one each time: equal bytes would be kept once."""
    pattern = uuid4().hex
    return "data:image/png;base64," + pattern * (_CURVES_LETTERS // len(pattern))


def _line(run: UUID, now: datetime, second: int) -> actions.LogCreate:
    return actions.LogCreate(
        name="prefect.flow_runs",
        level=20,
        message=f"train: epoch after {second} s, select top-1 0.7123 (EMA 0.7190), 2410 img/s",
        timestamp=now,
        flow_run_id=run,
    )


def _related(run: UUID, flow: UUID) -> list[dict[str, str]]:
    """What the client adds to every event of a task of a deployed flow."""
    there = {
        "flow-run": run,
        "task-run": uuid4(),
        "flow": flow,
        "deployment": uuid4(),
        "work-queue": uuid4(),
        "work-pool": uuid4(),
        "tag": "mixnet",
    }
    return [
        {
            "prefect.resource.id": f"prefect.{role}.{name}",
            "prefect.resource.role": role,
            "prefect.resource.name": "mixnet_s-1a2b3c4d",
        }
        for role, name in there.items()
    ]


def _event(
    name: str,
    occurred: datetime,
    resource: dict[str, str],
    related: list[dict[str, str]],
    payload: dict[str, Any],
) -> ReceivedEvent:
    return ReceivedEvent.model_validate(
        {
            "occurred": occurred,
            "event": name,
            "resource": resource,
            "related": related,
            "payload": payload,
            "id": uuid4(),
            "received": occurred,
        }
    )


if __name__ == "__main__":
    found = asyncio.run(main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
    sys.stdout.write(json.dumps(found) + "\n")
