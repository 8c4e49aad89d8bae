"""One night: a server on PostgreSQL, two hosts' workers, an object store, and what goes wrong."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.release.registry import read_release
from mixnet_core.revalidation.history import read_history
from mixnet_core.runs.run_dir import RunDir
from tests.flows.conftest import asked, eventually, rows, stage_processes, tiny
from tests.flows.host import Host, host
from tests.flows.test_revalidation import runs_of, scheduled_in
from tests.infra.postgres import Postgres, is_installed, running_postgres
from tests.object_store import ObjectStore

pytestmark = [pytest.mark.slow, pytest.mark.long]

# A minute where nothing else is asked for.
AWAY = float(os.environ.get("MIXNET_TEST_AWAY") or 60)
EPOCHS = 60
HOSTS = {"worker": "watch", "worker-2": "watch-2"}
STAGES = ("prepare", "fetch", "train", "select", "validate", "accept", "publish")
OVER = ("COMPLETED", "FAILED", "CANCELLED")
UNDER_WAY = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING")


@dataclass(frozen=True)
class Night:
    """Everything that runs, with where releases go."""

    host: Host
    postgres: Postgres
    store: ObjectStore
    registry: str

    def train(self, images: Path, run: str, **changes: Any) -> str:
        """Asks for a run; its id."""
        parameters = tiny(images, run, registry=self.registry, **changes)
        # It learns nothing from so few images, and is not to stop for it.
        parameters["settings"] = parameters["settings"] | {"training.chance_epochs": None}
        return self.host.deployed.run("mixnet/train", **parameters)

    def run(self, name: str) -> RunDir:
        return self.host.deployed.workspace.run(name)

    def host_of(self, flow_run: str) -> str:
        """The worker on whose host a flow run lives."""
        (found,) = [
            worker
            for worker in HOSTS
            if list(self.host.cache(worker).glob(f"flow-runs/*/*/{flow_run}"))
        ]
        return found

    def stored(self, release: str) -> list[str]:
        """Names of what lies under a release's name, whole or not."""
        prefix = f"night/{release}/"
        found = self.store.client().list_objects_v2(Bucket=self.store.bucket, Prefix=prefix)
        return sorted(item["Key"].removeprefix(prefix) for item in found.get("Contents", []))

    def nothing_is_left(self, run: str) -> None:
        """Of a run that ended: no process, no lock, no place that it holds, no half release."""
        eventually(lambda: not stage_processes(self.host.deployed.workspace), 20)
        with self.run(run).lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for limit in asked("POST", f"{self.host.api}/v2/concurrency_limits/filter", {}):
            assert limit["active_slots"] == 0, limit
        where = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
        assert asked("POST", f"{self.host.api}/flow_runs/filter", where) == []
        parts = self.store.client().list_multipart_uploads(Bucket=self.store.bucket)
        assert parts.get("Uploads", []) == []
        if stored := self.stored(run):
            release = read_release(f"{self.registry}/{run}")
            assert {*stored} >= {file.name for file in release.files.values()}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, object_store: ObjectStore) -> Iterator[Night]:
    if not is_installed():
        pytest.skip("needs PostgreSQL's initdb: make services (Debian: postgresql)")
    with running_postgres() as postgres:
        postgres.sql("CREATE DATABASE night")
        yield from begun_night(tmp_path_factory.mktemp("night"), postgres, object_store)


def begun_night(folder: Path, postgres: Postgres, object_store: ObjectStore) -> Iterator[Night]:
    registry = f"s3://{object_store.bucket}/night"
    environment = {
        **object_store.environment,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.url("night"),
        "MIXNET_REGISTRY": registry,
    }
    with pytest.MonkeyPatch.context() as patch:
        # This process reads what was published.
        for name, value in object_store.environment.items():
            patch.setenv(name, value)
        with host(folder, **environment) as made:
            for worker, watch in HOSTS.items():
                made.start(worker)
                made.start(watch, "--pending-seconds", "5", "--cancelling-seconds", "5")
            yield Night(made, postgres, object_store, registry)


def more_steps(run: RunDir) -> Callable[[], bool]:
    """Whether a step was done since now."""
    before = time.time()
    return lambda: any(row["time"] > before for row in rows(run, "step"))


@pytest.fixture(scope="module")
def survived(night: Night, images: Path) -> str:
    """A training over which server, host and database went away; its release's name."""
    flow_run = night.train(images, "survived", epochs=EPOCHS)
    run = night.run("survived")
    eventually(lambda: rows(run, "epoch"), 120)

    night.host.kill("server")
    night.host.start("server")
    eventually(more_steps(run), 60)

    # The whole host: its worker, its watch, and all that the worker started.
    worker = night.host_of(flow_run)
    night.host.kill(worker)
    night.host.kill(HOSTS[worker])
    for process in night.host.processes(flow_run):
        process.kill()
    going_on = more_steps(run)
    night.host.start(worker)
    night.host.start(HOSTS[worker])
    eventually(going_on, 120)

    night.postgres.stop()
    time.sleep(AWAY)
    night.postgres.start()
    night.host.start_ended()
    # On the way it may be called Crashed: it goes on by itself.
    eventually(lambda: night.host.deployed.state(flow_run)["type"] in OVER, 600)
    assert night.host.deployed.state(flow_run)["type"] == "COMPLETED"
    return "survived"


def test_a_training_over_a_restart_a_dead_host_and_a_dead_database_is_published_whole(
    night: Night, survived: str
) -> None:
    run = night.run(survived)
    epochs = [row["epoch"] for row in rows(run, "epoch")]
    assert epochs == list(range(1, EPOCHS + 1))
    assert night.stored(survived)
    night.nothing_is_left(survived)


def test_its_scheduled_revalidation_confirms_it(night: Night, survived: str) -> None:
    deployed = night.host.deployed
    deployment = scheduled_in(deployed, "mixnet-revalidate/releases", 10)
    run = eventually(lambda: next(iter(runs_of(deployed, deployment)), None), 180)
    assert deployed.final_state(run["id"], 180)["type"] == "COMPLETED"
    history = read_history(night.registry)
    assert {(item.release, item.state) for item in history} == {(survived, "confirmed")}


def test_what_is_cancelled_in_any_stage_leaves_nothing_and_goes_on_when_it_is_asked_for_again(
    night: Night, images: Path
) -> None:
    deployed = night.host.deployed
    ended = []
    for stage in STAGES:
        flow_run = night.train(images, "cancelled", epochs=4)
        eventually(lambda flow_run=flow_run, stage=stage: begun(night, flow_run, stage), 180)
        # What `prefect flow-run cancel` asks for, without its seconds of starting up. A stage of
        # milliseconds, or the last one, may be done by then all the same.
        state = {"type": "CANCELLING", "name": "Cancelling"}
        asked("POST", f"{deployed.api}/flow_runs/{flow_run}/set_state", {"state": state})
        ended.append(deployed.final_state(flow_run, 90)["type"])
        assert ended[-1] in ("CANCELLED", "COMPLETED")
        night.nothing_is_left("cancelled")
    assert ended.count("CANCELLED") >= 4, ended
    flow_run = night.train(images, "cancelled", epochs=4)
    assert deployed.final_state(flow_run, 300)["type"] == "COMPLETED"
    night.nothing_is_left("cancelled")
    assert night.stored("cancelled")


def begun(night: Night, flow_run: str, stage: str) -> bool:
    where = {"task_runs": {"flow_run_id": {"any_": [flow_run]}}}
    tasks = asked("POST", f"{night.host.api}/task_runs/filter", where)
    over = night.host.deployed.state(flow_run)["type"] not in UNDER_WAY
    return over or any(task["name"].startswith(f"{stage} ") for task in tasks)
