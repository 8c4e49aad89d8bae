"""Node runs: flow runs of the deployment `node`, each a host's part of a training.

They are started, looked at and ended here, by the flow run that leads, whose part they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Cancelling

from mixnet_core.errors import MachineError, TransientError
from mixnet_core.stages.context import Context
from mixnet_flows.impatience import impatient, server_is_away
from mixnet_flows.pool_hosts import UNDER_WAY
from mixnet_flows.taken_host import tag_of
from mixnet_flows.this_host import host_of, queue_of

DEPLOYMENT = "mixnet-node/node"

_POLL_SECONDS = 1.0
# A node run that is asked to end has so long before it is called Cancelled.
_SECONDS_TO_CANCEL = 60.0
# One that crashed may go on by itself: its host's watch has it do so.
_MAY_GO_ON = [*UNDER_WAY, "CRASHED"]


def node_parameters(context: Context, leader: UUID, host: str, number: int) -> dict[str, Any]:
    """Returns the parameters of a host's node run.

    Args:
        leader: the flow run that leads.
        number: the host's, from 1.
    """
    return {
        "run": context.run.name,
        "workspace": str(context.workspace.root),
        "leader": str(leader),
        "host": host,
        "node_rank": number,
    }


def start_node(context: Context, leader: UUID, host: str, number: int) -> UUID:
    """Starts a host's node run, as host `number` of the run's; returns its id.

    Raises:
        MachineError: the server has no deployment `node`.
        TransientError: the server is away.
    """
    name, count = context.run.name, context.recipe.devices.hosts
    try:
        with _explained():
            # Part of this flow run: the dashboard links them, and the server cancels it too.
            started = run_deployment(
                DEPLOYMENT,
                parameters=node_parameters(context, leader, host, number),
                flow_run_name=f"{name} host {number} of {count}",
                tags=[f"run: {name}", tag_of(host)],
                work_queue_name=queue_of(host),
                # A request that is repeated makes no second one.
                idempotency_key=uuid4().hex,
                timeout=0,
            )
    except ObjectNotFound as error:
        raise MachineError(
            f"the server has no deployment {DEPLOYMENT}: run `prefect --no-prompt deploy --all`"
        ) from error
    assert isinstance(started, FlowRun)
    get_run_logger().info("host %d of %d is %s, flow run %s", number, count, host, started.id)
    return started.id


def nodes_by_id(client: SyncPrefectClient, ids: list[UUID]) -> dict[UUID, FlowRun]:
    """Returns those of the node runs that may still train: not ended for good, or through."""
    if not ids:
        return {}
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(
            {"id": {"any_": ids}, "state": {"type": {"any_": [*_MAY_GO_ON, "COMPLETED"]}}}
        )
    )
    return {run.id: run for run in found}


def let_go(leader: UUID, patience: float) -> None:
    """Ends every node run of a flow run, and waits until none is left.

    Args:
        patience: seconds that one has to end by itself, before it is cancelled.
    """
    began = time.monotonic()
    try:
        while True:
            with asked_server() as client:
                left = _left(client, leader)
                seconds = time.monotonic() - began - patience
                for run in left:
                    end_node(client, run, asks=seconds >= 0, forces=seconds > _SECONDS_TO_CANCEL)
            if not left:
                return
            time.sleep(_POLL_SECONDS)
    except Exception as error:
        # Not in the place of why the training ended.
        get_run_logger().warning("node runs end by themselves: %s", error)


def nodes_under_way(leader: UUID) -> list[int]:
    """Returns the numbers of the hosts whose node runs are under way, in order.

    Raises:
        TransientError: the server is away.
    """
    with impatient(), asked_server() as client:
        running = [run for run in _left(client, leader) if run.state and run.state.is_running()]
    return sorted({int(run.parameters["node_rank"]) for run in running})


def ask_once(leader: UUID) -> None:
    try:
        with impatient(), asked_server() as client:
            for run in _left(client, leader):
                end_node(client, run, asks=True, forces=False)
    except Exception as error:
        get_run_logger().warning("node runs end by themselves: %s", error)


def _left(client: SyncPrefectClient, leader: UUID) -> list[FlowRun]:
    """Returns a flow run's node runs that have not ended, or may begin anew."""
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(
            {
                "parent_flow_run_id": {"any_": [str(leader)]},
                "state": {"type": {"any_": _MAY_GO_ON}},
            }
        )
    )
    return [run for run in found if host_of(run.work_queue_name or "") is not None]


def end_node(client: SyncPrefectClient, run: FlowRun, *, asks: bool, forces: bool) -> None:
    """Cancels a node run, as far as it is time for it.

    Args:
        asks: whether one that runs is asked to end.
        forces: whether it is called Cancelled: where its process lives, it sees that (`guarded`).
    """
    state = run.state
    if state is None:
        return
    text = "its run has ended, or goes on without it"
    if forces or not (state.is_running() or state.is_cancelling()):
        client.set_flow_run_state(run.id, Cancelled(message=text), force=True)
    elif asks and state.is_running():
        client.set_flow_run_state(run.id, Cancelling(message=text))


@contextmanager
def asked_server() -> Iterator[SyncPrefectClient]:
    with _explained(), get_client(sync_client=True) as client:
        yield client


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not server_is_away(error):
            raise
        raise TransientError(
            f"the Prefect server, which starts other hosts, is away ({type(error).__name__}): it "
            "is asked again with the next attempt"
        ) from error
