"""Has other hosts of the pool train a run together with this one, which leads.

A flow run of the deployment `node` for each of them, in the queue that only that host's worker
takes. They meet in the run's folder, all or none: one that does not come within
`devices.join_seconds` ends the attempt of all. Here they are chosen, started, and let go: none is
left over when the training has ended, whichever way. What they do together, and how one that fails
is noticed, is `mixnet_core.stages.leading`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, WorkQueueFilter
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Cancelling

from mixnet_core.errors import MachineError, TransientError
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.sections import Devices
from mixnet_core.stages.context import Context
from mixnet_core.stages.which_host import which_host
from mixnet_flows.impatience import impatient, server_is_away
from mixnet_flows.infra.setup import POOL
from mixnet_flows.taken_host import host_taken, let_host_go, tag_of
from mixnet_flows.this_host import ADDRESS_VARIABLE, NAME_VARIABLE, host_of, queue_of

DEPLOYMENT = "mixnet-node/node"

_POLL_SECONDS = 1.0
_SECONDS_BETWEEN_LOOKS = 5.0
# A node run that is not asked has so long to end as the leader did, then so long once it is asked.
_SECONDS_TO_END = 30.0
_SECONDS_TO_CANCEL = 60.0
_UNDER_WAY = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"]


@contextmanager
def nodes_started(context: Context) -> Iterator[HostRanks | None]:
    """Starts a node run on as many other hosts as the recipe asks for; lets them go at the end.

    Yields:
        The ranks of this host, for `stages.train`; None where the recipe is for one host.

    Raises:
        MachineError: it is not said which host this is; the server has no deployment `node`.
        InputError: this host's address is none that others reach.
        TransientError: too few other hosts are online, or the server is away.
    """
    devices = context.recipe.devices
    if devices.hosts == 1:
        # Of a CPU others may have their share.
        with host_taken() if devices.target != "CPU" else nullcontext():
            yield None
        return
    own, ranks = _leading(devices)
    leader = UUID(flow_run.id)
    # Of a process of this flow run that was killed: their numbers may be others now.
    _let_go(leader, 0.0)
    let_host_go()
    try:
        others = _chosen(devices, own)
        _start(context, leader, others)
        # Not before: of two that lead and wait for each other's host neither would begin.
        with host_taken():
            yield ranks
    except Exception:
        _let_go(leader, _SECONDS_TO_END)
        raise
    except BaseException:
        # A cancel: what takes longer than Prefect gives it is killed.
        _ask_once(leader)
        raise
    else:
        _let_go(leader, _SECONDS_TO_END)


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


def _leading(devices: Devices) -> tuple[str, HostRanks]:
    """Returns this host's name, and its ranks as host 0."""
    own, address = os.environ.get(NAME_VARIABLE), os.environ.get(ADDRESS_VARIABLE)
    if not own or not address:
        missing = "an address that others reach" if own else "a name"
        raise MachineError(
            f"devices.hosts is {devices.hosts}, and this host has not {missing}: start its worker "
            "as `python -m mixnet_flows.infra.worker --address ADDRESS`"
        )
    return own, which_host(devices, node_rank=0, master=address, environment={})


def _chosen(devices: Devices, own: str) -> list[str]:
    """Returns the names of other hosts that are free; waits while enough are online.

    A worker is online as long as the server says so, by its own clock.
    """
    wanted = devices.hosts - 1
    deadline = time.monotonic() + devices.join_seconds
    said = False
    while True:
        with _server() as client:
            free, busy, away = _hosts(client, own)
        if len(free) >= wanted:
            return free[:wanted]
        have = ", ".join([f"{name} (free)" for name in free] + busy + away) or "none"
        text = f"{devices.hosts} hosts are to train, besides {own} there are: {have}"
        if len(free) + len(busy) < wanted and time.monotonic() > deadline:
            raise TransientError(
                f"{text}: start `python -m mixnet_flows.infra.worker` on {wanted} of the others"
            )
        if not said:
            get_run_logger().info("waiting for hosts: %s", text)
            said = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _hosts(client: SyncPrefectClient, own: str) -> tuple[list[str], list[str], list[str]]:
    """Returns other hosts by name: those that are free; that are busy, and away, with why."""
    queues = {
        host: queue
        for queue in client.read_work_queues(work_pool_name=POOL)
        if (host := host_of(queue.name)) is not None and host != own
    }
    workers = client.read_workers_for_work_pool(POOL)
    online = {worker.name for worker in workers if worker.status == "ONLINE"}
    under_way = {"state": {"type": {"any_": _UNDER_WAY}}}
    queued = client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(under_way),
        work_queue_filter=WorkQueueFilter.model_validate(
            {"name": {"any_": [queue.name for queue in queues.values()]}}
        ),
    )
    leading = client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(
            under_way | {"tags": {"any_": [tag_of(host) for host in queues]}}
        )
    )
    taken = {tag: run.name for run in leading for tag in run.tags}
    taken |= {tag_of(host_of(run.work_queue_name or "") or ""): run.name for run in queued}
    free, busy, away = [], [], []
    for host, queue in sorted(queues.items()):
        if host not in online:
            away.append(f"{host} (offline)")
        elif queue.is_paused:
            away.append(f"{host} (its queue is paused)")
        elif (name := taken.get(tag_of(host))) is not None:
            busy.append(f"{host} (busy with {name})")
        else:
            free.append(host)
    return free, busy, away


def _start(context: Context, leader: UUID, hosts: list[str]) -> None:
    name = context.run.name
    count = len(hosts) + 1
    for number, host in enumerate(hosts, start=1):
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


def _let_go(leader: UUID, patience: float) -> None:
    """Ends every node run of a flow run, and waits until none is left.

    Args:
        patience: seconds that one has to end by itself, before it is cancelled.
    """
    began = time.monotonic()
    try:
        while True:
            with _server() as client:
                left = _left(client, leader)
                seconds = time.monotonic() - began - patience
                for run in left:
                    _end(client, run, asks=seconds >= 0, forces=seconds > _SECONDS_TO_CANCEL)
            if not left:
                return
            time.sleep(_POLL_SECONDS)
    except Exception as error:
        # Not in the place of why the training ended.
        get_run_logger().warning("node runs end by themselves: %s", error)


def _ask_once(leader: UUID) -> None:
    try:
        with impatient(), _server() as client:
            for run in _left(client, leader):
                _end(client, run, asks=True, forces=False)
    except Exception as error:
        get_run_logger().warning("node runs end by themselves: %s", error)


def _left(client: SyncPrefectClient, leader: UUID) -> list[FlowRun]:
    """Returns a flow run's node runs that have not ended, or may begin anew."""
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(
            {
                "parent_flow_run_id": {"any_": [str(leader)]},
                "state": {"type": {"any_": [*_UNDER_WAY, "CRASHED"]}},
            }
        )
    )
    return [run for run in found if host_of(run.work_queue_name or "") is not None]


def _end(client: SyncPrefectClient, run: FlowRun, *, asks: bool, forces: bool) -> None:
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
def _server() -> Iterator[SyncPrefectClient]:
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
