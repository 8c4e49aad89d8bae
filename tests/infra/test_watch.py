"""What the watch does of itself; with a real server and worker: tests/flows/test_guarded.py."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import AwaitingRetry, Cancelling, Crashed, Pending, Running

from mixnet_flows.infra.watch import Watch

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


class Api:
    """Answers as a server that has these runs; of `ill` it answers 500."""

    def __init__(self, *runs: FlowRun, ill: UUID | None = None) -> None:
        self.runs = {run.id: run for run in runs}
        self.ill = ill
        self.set: list[tuple[UUID, str]] = []

    def read_flow_run(self, flow_run: UUID) -> FlowRun:
        request = httpx.Request("GET", "http://host/api/flow_runs")
        if flow_run == self.ill:
            response = httpx.Response(500, request=request)
            raise PrefectHTTPStatusError("500", request=request, response=response)
        if flow_run not in self.runs:
            raise ObjectNotFound(Exception("404"))
        return self.runs[flow_run]

    def read_flow_runs(self, **_: Any) -> list[FlowRun]:
        return [run for run in self.runs.values() if run.state and run.state.is_pending()]

    def read_flow_run_states(self, flow_run: UUID) -> list[State]:
        self.read_flow_run(flow_run)
        return []

    def read_workers_for_work_pool(self, _: str) -> list[Any]:
        return []

    def set_flow_run_state(self, flow_run: UUID, state: State, **_: Any) -> Any:
        self.set.append((flow_run, str(state.name)))

        class Answer:
            status = SetStateStatus.ACCEPT

        return Answer()


def flow_run(state: State, minutes: float = 0.0) -> FlowRun:
    """A run whose state was set so long ago by the server's clock, as this host reads it."""
    state.timestamp -= timedelta(minutes=minutes)
    return FlowRun(flow_id=uuid4(), deployment_id=uuid4(), state=state, run_count=1)


def note(folder: Path, run: UUID, pid: int) -> Path:
    file = folder / str(run)
    file.write_text(json.dumps({"pid": pid, "run_count": 1, "cancelled": False}))
    return file


@contextmanager
def living(file: Path) -> Iterator[None]:
    with file.open("rb+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def test_a_clock_that_is_ahead_of_the_servers_makes_no_run_late(tmp_path: Path) -> None:
    run = flow_run(Pending(), minutes=60)
    api = Api(run)
    watch = Watch(tmp_path, "here", pending_seconds=0.3)
    watch.look(api)  # type: ignore[arg-type]
    assert api.set == []
    time.sleep(0.4)
    watch.look(api)  # type: ignore[arg-type]
    assert api.set == [(run.id, "AwaitingRetry")]


def test_a_process_that_is_not_the_runs_is_not_ended(tmp_path: Path) -> None:
    run = flow_run(Cancelling(), minutes=60)
    with subprocess.Popen(SLEEP) as stranger, living(note(tmp_path, run.id, stranger.pid)):
        watch = Watch(tmp_path, "here", cancelling_seconds=0.0)
        for _ in range(3):
            watch.look(Api(run))  # type: ignore[arg-type]
            time.sleep(0.05)
        assert stranger.poll() is None
        stranger.kill()
    its = {**os.environ, "PREFECT__FLOW_RUN_ID": str(run.id)}
    with subprocess.Popen(SLEEP, env=its) as own, living(note(tmp_path, run.id, own.pid)):
        for _ in range(3):
            watch.look(Api(run))  # type: ignore[arg-type]
            time.sleep(0.05)
        assert own.wait(10) < 0


def test_a_run_that_the_server_cannot_read_keeps_no_other_from_being_looked_at(
    tmp_path: Path,
) -> None:
    deleted, ill, gone = sorted((uuid4(), uuid4(), uuid4()))
    run = flow_run(Running()).model_copy(update={"id": gone})
    for each in (deleted, ill, gone):
        note(tmp_path, each, 1)
    api = Api(run, ill=ill)
    watch = Watch(tmp_path, "here")
    for _ in range(2):
        with pytest.raises(PrefectHTTPStatusError):
            watch.look(api)  # type: ignore[arg-type]
    assert api.set == [(gone, "Crashed"), (gone, "AwaitingRetry")]
    assert {file.name for file in tmp_path.iterdir()} == {str(ill), str(gone)}


def test_a_run_that_is_called_crashed_once_more_by_its_worker_goes_on_all_the_same(
    tmp_path: Path,
) -> None:
    run = flow_run(Crashed())
    file = note(tmp_path, run.id, 1)
    api = Api(run)
    watch = Watch(tmp_path, "here", pending_seconds=0.0, settle_seconds=0.0)

    def looked(state: State, run_count: int = 1) -> list[str]:
        """What the watch sets where the server has a state."""
        api.set.clear()
        api.runs[run.id] = run.model_copy(update={"state": state, "run_count": run_count})
        watch.look(api)  # type: ignore[arg-type]
        return [name for _, name in api.set]

    assert looked(Crashed()) == []
    assert looked(Crashed()) == ["AwaitingRetry"]
    assert looked(AwaitingRetry()) == []
    # The worker says it when the process has ended, and again when it has tidied up.
    assert looked(Crashed()) == ["AwaitingRetry"]
    # A worker took it and died before it began.
    pending = Pending()
    looked(pending)
    time.sleep(0.05)
    assert looked(pending) == ["AwaitingRetry"]
    assert file.exists()
    # Begun anew, maybe elsewhere.
    assert looked(Running(), run_count=2) == []
    assert not file.exists()


def test_a_run_goes_on_once_its_worker_has_had_the_time_to_say_twice_that_it_crashed(
    tmp_path: Path,
) -> None:
    run = flow_run(Crashed())
    note(tmp_path, run.id, 1)
    api = Api(run)
    watch = Watch(tmp_path, "here", settle_seconds=0.5)
    for _ in range(3):
        watch.look(api)  # type: ignore[arg-type]
    # Said again, it is another state.
    time.sleep(0.6)
    api.runs[run.id] = run.model_copy(update={"state": Crashed()})
    for _ in range(2):
        watch.look(api)  # type: ignore[arg-type]
    assert api.set == []
    time.sleep(0.6)
    watch.look(api)  # type: ignore[arg-type]
    assert api.set == [(run.id, "AwaitingRetry")]


def test_a_run_that_is_deleted_while_it_is_scheduled_again_does_not_end_the_watch(
    tmp_path: Path,
) -> None:
    run = flow_run(Pending())
    api = Api(run)
    watch = Watch(tmp_path, "here", pending_seconds=0.0)
    watch.look(api)  # type: ignore[arg-type]
    time.sleep(0.05)
    api.read_flow_runs = lambda **_: [run]  # type: ignore[method-assign]
    api.runs.clear()
    watch.look(api)  # type: ignore[arg-type]
    assert api.set == []
