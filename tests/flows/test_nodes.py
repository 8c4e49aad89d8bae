"""Which hosts a server has for a training, and what a worker takes that is one of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow, runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending, Running

from mixnet_core.errors import MachineError
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.stages.context import Context
from mixnet_flows import node_runs, nodes
from mixnet_flows.guarded import taken_by_another
from mixnet_flows.infra import worker
from mixnet_flows.infra.setup import POOL, QUEUES
from mixnet_flows.infra.worker import address_towards, own_queues, shared_queues
from mixnet_flows.pool_hosts import OtherHosts, other_hosts
from mixnet_flows.taken_host import host_taken, let_host_go, tag_of
from mixnet_flows.this_host import ADDRESS_VARIABLE, NAME_VARIABLE, queue_of
from tests.flows.conftest import Deployed, eventually

pytestmark = pytest.mark.slow

HOSTS = ("a", "b", "c", "d")
HERE = "10.0.0.1 (one)"


@pytest.fixture(scope="module")
def client(deployed: Deployed) -> Iterator[SyncPrefectClient]:
    """Of a server with four hosts; the last one's worker never gave a sign of life."""
    with (
        temporary_settings({PREFECT_API_URL: deployed.api}),
        get_client(sync_client=True) as made,
    ):
        for host in HOSTS:
            own_queues(made, host, HERE)
        for host in HOSTS[:-1]:
            made._client.post(
                f"/work_pools/{POOL}/workers/heartbeat", json={"name": host}
            ).raise_for_status()
        yield made
        for host in HOSTS:
            made.delete_work_queue_by_id(made.read_work_queue_by_name(queue_of(host), POOL).id)


def test_a_hosts_worker_takes_its_own_queue_and_no_other_hosts(client: SyncPrefectClient) -> None:
    taken = own_queues(client, "b", HERE)
    assert {name for name in taken if name.startswith("host-")} == {"host-b"}
    assert set(QUEUES) <= set(taken)
    assert client.read_work_queue_by_name("host-b", POOL).concurrency_limit == 1


def test_a_name_that_is_online_elsewhere_is_refused_and_not_once_it_is_offline(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_SECONDS_UNTIL_MISSED", 0)
    own_queues(client, "b", HERE)
    with pytest.raises(MachineError, match=r"a worker b is online at 10\.0\.0\.1 \(one\)"):
        own_queues(client, "b", "10.0.0.2 (other)")
    assert own_queues(client, "d", "10.0.0.2 (other)") == own_queues(client, "d", HERE)


def test_a_worker_that_is_alone_takes_no_hosts_queue_and_is_chosen_no_more(
    client: SyncPrefectClient,
) -> None:
    try:
        taken = shared_queues(client, "b")
        assert not [name for name in taken if name.startswith("host-")]
        assert set(QUEUES) <= set(taken)
        assert other_hosts(client, "a").free == ["c"]
        assert shared_queues(client, "b") == taken
    finally:
        own_queues(client, "b", HERE)


def test_a_number_goes_from_a_host_that_takes_nothing_or_fails_to_one_that_was_not_tried(
    client: SyncPrefectClient, deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "_SECONDS_BETWEEN_LOOKS", 0.2)
    settings = {"devices.hosts": 2, "devices.min_hosts": 1, "devices.ranks": 1}
    recipe = load_recipe("digits", settings | {"devices.join_seconds": 1})
    context = Context(recipe, deployed.workspace.run("mine"), deployed.workspace, "")
    queue = client.read_work_queue_by_name(queue_of("b"), POOL)

    def started(leader: UUID) -> list[FlowRun]:
        part = {"parent_flow_run_id": {"any_": [str(leader)]}}
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(part))
        return sorted(found, key=lambda run: str(run.created))

    @flow(name="leads-and-fills-up")
    def leads() -> list[FlowRun]:
        leader = UUID(runtime.flow_run.id)
        made = nodes._Nodes(context, leader, "a")
        made.start(["b"])
        with nodes._filled_up(made):
            eventually(lambda: len(started(leader)) == 2, 30)
            # The worker of these tests takes it, and is not host c.
            deployed.final_state(str(started(leader)[1].id))
            time.sleep(1)
        return started(leader)

    client.update_work_queue(queue.id, is_paused=True)
    try:
        runs = leads()
    finally:
        client.update_work_queue(queue.id, is_paused=False)
    assert [(run.work_queue_name, run.parameters["node_rank"]) for run in runs] == [
        ("host-b", 1),
        ("host-c", 1),
    ]
    first, second = (run.state.type.value for run in runs if run.state)
    assert first == "CANCELLED"
    # On a machine that is slow to begin it, it was too late.
    assert second in ("FAILED", "CANCELLED")


def test_hosts_are_free_busy_or_away(client: SyncPrefectClient, deployed: Deployed) -> None:
    assert other_hosts(client, "a") == OtherHosts(["b", "c"], [], ["d (offline)"])
    deployment = client.read_deployment_by_name(node_runs.DEPLOYMENT)
    context = Context(load_recipe("digits"), deployed.workspace.run("mine"), deployed.workspace, "")
    run = client.create_flow_run_from_deployment(
        deployment.id,
        parameters=node_runs.node_parameters(context, deployment.id, "b", 1),
        name="mine host 1 of 2",
        state=Running(),
        work_queue_name=queue_of("b"),
    )
    queue = client.read_work_queue_by_name(queue_of("c"), POOL)
    client.update_work_queue(queue.id, is_paused=True)
    try:
        found = other_hosts(client, "a")
        assert found.free == []
        assert found.busy == ["b (busy with mine host 1 of 2)"]
        assert found.away == ["c (its queue is paused)", "d (offline)"]
    finally:
        client.delete_flow_run(run.id)
        client.update_work_queue(queue.id, is_paused=False)


def test_a_host_that_leads_is_busy_though_its_own_queue_is_free(
    client: SyncPrefectClient,
) -> None:
    deployment = client.read_deployment_by_name("mixnet/train")
    run = client.create_flow_run_from_deployment(
        deployment.id, name="led", state=Running(), tags=[tag_of("b")]
    )
    try:
        assert other_hosts(client, "a") == OtherHosts(["c"], ["b (busy with led)"], ["d (offline)"])
    finally:
        client.delete_flow_run(run.id)


def test_what_leads_is_tagged_by_the_host_that_it_leads_on_and_by_no_other(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow(name="leads")
    def leads() -> list[list[str]]:
        run = UUID(runtime.flow_run.id)
        client.update_flow_run(run, tags=["mine", "host: of a process that was killed"])
        let_host_go()
        seen = [client.read_flow_run(run).tags]
        with host_taken():
            seen.append(sorted(client.read_flow_run(run).tags))
        return [*seen, client.read_flow_run(run).tags]

    monkeypatch.setenv(NAME_VARIABLE, "b")
    assert leads() == [["mine"], ["host: b", "mine"], ["mine"]]


def test_a_node_run_that_another_hosts_worker_took_is_refused_by_name(
    client: SyncPrefectClient, deployed: Deployed
) -> None:
    # The worker of these tests takes all queues.
    deployment = client.read_deployment_by_name(node_runs.DEPLOYMENT)
    context = Context(load_recipe("digits"), deployed.workspace.run("mine"), deployed.workspace, "")
    run = client.create_flow_run_from_deployment(
        deployment.id,
        parameters=node_runs.node_parameters(context, deployment.id, "b", 1),
        work_queue_name=queue_of("b"),
    )
    ended = deployed.final_state(str(run.id))
    assert ended["type"] == "FAILED"
    assert "this is for host b, and another worker took it" in ended["message"]


@pytest.mark.parametrize(("name", "missing"), [(None, "a name"), ("a", "an address")])
def test_a_worker_that_is_no_host_leads_no_others(
    name: str | None, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    monkeypatch.delenv(NAME_VARIABLE, raising=False)
    if name is not None:
        monkeypatch.setenv(NAME_VARIABLE, name)
    devices = load_recipe("digits").devices.model_copy(update={"hosts": 2})
    with pytest.raises(MachineError, match=f"this host has not {missing}"):
        nodes._leading(devices)


def test_a_server_on_this_machine_says_no_address_that_others_reach() -> None:
    assert address_towards("http://127.0.0.1:4200/api") is None


def test_a_run_is_anothers_once_another_worker_of_the_pool_has_it(
    client: SyncPrefectClient,
) -> None:
    deployment = client.read_deployment_by_name("mixnet/train")
    run = client.create_flow_run_from_deployment(deployment.id, state=Running())
    try:
        assert taken_by_another(run.id, "a") is None
        labels = {"prefect.worker.name": "b", "prefect.work-pool.name": POOL}
        client.update_flow_run_labels(run.id, labels)
        assert taken_by_another(run.id, "a") == "b"
        assert taken_by_another(run.id, "b") is None
        # A variable that was left by something else, or none.
        assert taken_by_another(run.id, "nobody") is None
        assert taken_by_another(run.id, None) is None
    finally:
        client.delete_flow_run(run.id)


PROGRAM = """
import sys
from uuid import UUID
from prefect import flow, get_client
from prefect.flow_engine import run_flow
from mixnet_flows.guarded import guarded

@flow
@guarded
def works(recipe: str) -> None:
    print("it works", flush=True)

with get_client(sync_client=True) as client:
    run = client.read_flow_run(UUID(sys.argv[1]))
run_flow(works, flow_run=run)
"""


@pytest.mark.parametrize(("worker", "works"), [("a", False), ("b", True)])
def test_a_process_whose_run_another_worker_has_ends_without_a_word_to_the_server(
    worker: str, works: bool, client: SyncPrefectClient, deployed: Deployed, tmp_path: Path
) -> None:
    deployment = client.read_deployment_by_name("mixnet/train")
    run = client.create_flow_run_from_deployment(deployment.id, state=Pending())
    labels = {"prefect.worker.name": "b", "prefect.work-pool.name": POOL}
    client.update_flow_run_labels(run.id, labels)
    own = {"MIXNET_CACHE": str(tmp_path), NAME_VARIABLE: worker, "PREFECT_API_URL": deployed.api}
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(run.id)],
            env={**os.environ, **own},
            check=False,
            timeout=120,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert ("it works" in done.stdout) == works
        state = client.read_flow_run(run.id).state
        assert state is not None
        assert state.is_final() == works
    finally:
        client.delete_flow_run(run.id)
