"""Has other hosts of the pool train a run together with this one, which leads.

A flow run of the deployment `node` for each of them, in the queue that only that host's worker
takes. They meet in the run's folder, all or none: one that does not come within
`devices.join_seconds` ends the attempt of all, unless `devices.min_hosts` lets them go on without.
Here they are chosen, started, and let go: none is left over when the training has ended, whichever
way. What they do together, and how one that fails is noticed, is `mixnet_core.stages.leading`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Cancelling

from mixnet_core.errors import MachineError, TransientError
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.recipe.sections import Devices
from mixnet_core.stages.context import Context
from mixnet_core.stages.which_host import which_host
from mixnet_flows.impatience import impatient, server_is_away
from mixnet_flows.pool_hosts import UNDER_WAY, other_hosts
from mixnet_flows.taken_host import host_taken, let_host_go, tag_of
from mixnet_flows.this_host import ADDRESS_VARIABLE, NAME_VARIABLE, host_of, queue_of

DEPLOYMENT = "mixnet-node/node"

_POLL_SECONDS = 1.0
_SECONDS_BETWEEN_LOOKS = 5.0
# A node run that is not asked has so long to end as the leader did, then so long once it is asked.
_SECONDS_TO_END = 30.0
_SECONDS_TO_CANCEL = 60.0


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
        others = _chosen(context.recipe, own)
        for number, host in enumerate(others, start=1):
            _start(context, leader, host, number)
        # Not before: of two that lead and wait for each other's host neither would begin.
        with host_taken(), _later_ones_started(context, leader, own, len(others) + 1):
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


def _chosen(recipe: Recipe, own: str) -> list[str]:
    """Returns the names of other hosts that are free; waits while enough are online.

    Where `devices.min_hosts` lets training begin with fewer, those that are free are enough: the
    training itself waits for the rest, `devices.join_seconds` long.
    """
    wanted, least = recipe.devices.hosts - 1, recipe.host_counts[0] - 1
    deadline = time.monotonic() + recipe.devices.join_seconds
    said = False
    while True:
        with _server() as client:
            others = other_hosts(client, own)
        if len(others.free) >= least:
            return others.free[:wanted]
        text = (
            f"{least + 1} hosts are to train{' at least' if least < wanted else ''}, besides {own} "
            f"there are: {others}"
        )
        if len(others.free) + len(others.busy) < least and time.monotonic() > deadline:
            raise TransientError(
                f"{text}: start `python -m mixnet_flows.infra.worker` on {least} of the others"
            )
        if not said:
            get_run_logger().info("waiting for hosts: %s", text)
            said = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)


@contextmanager
def _later_ones_started(context: Context, leader: UUID, own: str, first: int) -> Iterator[None]:
    """Starts a node run for each host that is free only later, while the block lasts.

    Args:
        first: the number of the first host that has none.
    """
    missing = list(range(first, context.recipe.devices.hosts))
    if not missing:
        yield
        return
    over = threading.Event()
    in_flow, in_task = FlowRunContext.get(), TaskRunContext.get()

    def start() -> None:
        # By these Prefect knows whose part a node run is. Not by a copy of the whole context: its
        # client would be two threads' at once.
        with (
            in_flow.copy() if in_flow else nullcontext(),
            in_task.copy() if in_task else nullcontext(),
        ):
            while missing and not over.wait(_SECONDS_BETWEEN_LOOKS):
                try:
                    with _server() as client:
                        free = other_hosts(client, own).free
                    for host in free[: len(missing)]:
                        if not over.is_set():
                            _start(context, leader, host, missing[0])
                            del missing[0]
                except Exception as error:
                    # Training goes on without; the next look may find more.
                    get_run_logger().debug("no more hosts: %s", error)

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        # What it has started is let go of after it.
        thread.join(_SECONDS_TO_END)


def _start(context: Context, leader: UUID, host: str, number: int) -> None:
    """Starts a host's node run, as host `number` of the run's."""
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
                "state": {"type": {"any_": [*UNDER_WAY, "CRASHED"]}},
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
