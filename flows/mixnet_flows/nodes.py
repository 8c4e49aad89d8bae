"""Has other hosts of the pool train and measure a run together with this one, which leads.

A node run for each of them (`node_runs`), in the queue that only that host's worker takes. They
meet in the run's folder, all or none: one that does not come within `devices.join_seconds` ends the
attempt of all. Where `devices.min_hosts` lets them go on without, a host that becomes free later is
taken too, and another one in the place of one whose node run has ended. Those that are there when
the training ends score checkpoints and validate too. Here they are chosen, and let go: none is left
over after that, or when something fails. What they do together, and how one that fails is noticed,
is `mixnet_core.stages.leading`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import replace
from uuid import UUID

from prefect.context import SyncClientContext
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from mixnet_core.errors import MachineError, MixnetError, TransientError
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.recipe.sections import Devices
from mixnet_core.stages.context import Context
from mixnet_core.stages.which_host import which_host
from mixnet_flows.node_runs import (
    ask_once,
    asked_server,
    end_node,
    let_go,
    nodes_by_id,
    nodes_under_way,
    start_node,
)
from mixnet_flows.pool_hosts import other_hosts
from mixnet_flows.taken_host import host_taken, let_host_go
from mixnet_flows.this_host import ADDRESS_VARIABLE, NAME_VARIABLE

_SECONDS_BETWEEN_LOOKS = 5.0
_SECONDS_UNTIL_TRIED_AGAIN = 600.0
# A node run that is not asked has so long to end as the leader did.
_SECONDS_TO_END = 30.0


@contextmanager
def nodes_let_go(context: Context) -> Iterator[None]:
    """Lets every node run go at the end of the block, whichever way that ends."""
    if context.recipe.devices.hosts == 1:
        yield
        return
    leader = UUID(flow_run.id)
    try:
        yield
    except Exception:
        let_go(leader, _SECONDS_TO_END)
        raise
    except BaseException:
        # A cancel: what takes longer than Prefect gives it is killed.
        ask_once(leader)
        raise
    let_go(leader, _SECONDS_TO_END)


def nodes_there(context: Context) -> HostRanks | None:
    """Returns the ranks of this host, where others that trained with it are there to measure too.

    None where there are none, or the server, which knows them, is away.
    """
    devices = context.recipe.devices
    if devices.hosts == 1:
        return None
    try:
        numbers = nodes_under_way(UUID(flow_run.id))
        if not numbers:
            return None
        _, ranks = _leading(devices)
    except MixnetError as error:
        get_run_logger().warning("measuring on this host alone: %s", error)
        return None
    return replace(ranks, among=(0, *numbers))


def nodes_of_before_let_go(context: Context) -> None:
    """Lets node runs go that another process of this flow run started, and left."""
    if context.recipe.devices.hosts > 1:
        let_go(UUID(flow_run.id), 0.0)


@contextmanager
def nodes_started(context: Context) -> Iterator[HostRanks | None]:
    """Starts a node run on as many other hosts as the recipe asks for.

    They stay when the block has done its work (`nodes_let_go`); when it fails they are let go.

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
    let_go(leader, 0.0)
    let_host_go()
    try:
        nodes = _Nodes(context, leader, own)
        nodes.start(_chosen(context.recipe, own))
        # Not before: of two that lead and wait for each other's host neither would begin.
        with host_taken(), _filled_up(nodes) if devices.min_hosts else nullcontext():
            yield ranks
    except Exception:
        # They are others' until this is tried again.
        let_go(leader, _SECONDS_TO_END)
        raise


def _leading(devices: Devices) -> tuple[str, HostRanks]:
    """Returns this host's name, and its ranks as host 0."""
    own, address = os.environ.get(NAME_VARIABLE), os.environ.get(ADDRESS_VARIABLE)
    if not own or not address:
        missing = "an address that others reach" if own else "a name"
        raise MachineError(
            f"devices.hosts is {devices.hosts}, and this host has not {missing}: start its worker "
            "as `python -m mixnet_flows.infra.worker --address ADDRESS`, and none of the pool's "
            "with --alone"
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
        with asked_server() as client:
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


class _Nodes:
    """The node runs of a training, each with a number of its own from 1.

    Args:
        leader: the flow run that leads.
        own: the host that it leads on.
    """

    def __init__(self, context: Context, leader: UUID, own: str) -> None:
        self._context, self._leader, self._own = context, leader, own
        self._runs: dict[int, UUID] = {}
        self._began: dict[UUID, float] = {}
        # Host -> when. What has failed there is likely to fail again.
        self._tried: dict[str, float] = {}

    def start(self, hosts: list[str]) -> None:
        """Starts a node run on each, as far as there are numbers left."""
        numbers = range(1, self._context.recipe.devices.hosts)
        left = [number for number in numbers if number not in self._runs]
        for number, host in zip(left, hosts, strict=False):
            self._tried[host] = time.monotonic()
            run = start_node(self._context, self._leader, host, number)
            self._runs[number], self._began[run] = run, time.monotonic()

    def fill_up(self) -> None:
        """Starts more where numbers have no node run, or one that ended or never began."""
        with asked_server() as client:
            there = nodes_by_id(client, list(self._runs.values()))
            for number, run in list(self._runs.items()):
                node = there.get(run)
                if node is not None and node.run_count == 0 and self._waits_too_long(run):
                    # Behind another run of its host.
                    end_node(client, node, asks=True, forces=True)
                    node = None
                if node is None:
                    del self._runs[number]
            free = other_hosts(client, self._own).free
        before = time.monotonic() - _SECONDS_UNTIL_TRIED_AGAIN
        self.start([host for host in free if self._tried.get(host, before) <= before])

    def _waits_too_long(self, run: UUID) -> bool:
        return time.monotonic() - self._began[run] > self._context.recipe.devices.join_seconds


@contextmanager
def _filled_up(nodes: _Nodes) -> Iterator[None]:
    """Has there be as many node runs as hosts allow, while the block lasts."""
    over = threading.Event()
    log = get_run_logger()

    def look() -> None:
        # A client of its own: that of the flow run's context would be two threads' at once. It is
        # another by its settings.
        with SyncClientContext(httpx_settings={}):
            while not over.wait(_SECONDS_BETWEEN_LOOKS):
                try:
                    nodes.fill_up()
                except Exception as error:
                    # Training goes on with those that are there; the next look may find more.
                    log.warning("no more hosts are looked for now: %s", error)

    # In a copy of the context, by which Prefect knows whose part a node run is.
    thread = threading.Thread(target=copy_context().run, args=(look,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        # What it has started is let go of after it.
        thread.join(_SECONDS_TO_END)
