"""The flow `mixnet-node`: one host's part of what another host leads: training, then measuring."""

from __future__ import annotations

import os
from typing import Annotated
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from pydantic import Field

from mixnet_core.errors import InputError, MixnetError
from mixnet_core.runs.records import existing_run
from mixnet_core.runs.ticks import Tick
from mixnet_core.runs.values import TrainedRun
from mixnet_core.stages.context import Context
from mixnet_core.stages.on_record import OnRecord
from mixnet_core.stages.options import Text, open_workspace
from mixnet_core.stages.select import select
from mixnet_core.stages.train import train
from mixnet_core.stages.validate import validate
from mixnet_core.stages.which_host import which_host
from mixnet_core.storage.uris import refuse_credentials
from mixnet_flows.guarded import guarded
from mixnet_flows.this_host import NAME_VARIABLE


@flow(name="mixnet-node")
@guarded
def node(
    run: Text, workspace: Text, leader: UUID, host: Text, node_rank: Annotated[int, Field(ge=1)]
) -> TrainedRun | None:
    """Train and measure as one host of a run that another one leads. The flow `mixnet` starts it.

    Args:
        run: Name of the run, which is prepared.
        workspace: Folder on a disk that all hosts share.
        leader: Id of the flow run that leads.
        host: Name of the worker that this is for.
        node_rank: Which of the run's hosts it is; host 0 leads.
    """
    refuse_credentials(run, workspace, host)
    here = os.environ.get(NAME_VARIABLE)
    if here != host:
        raise InputError(
            f"this is for host {host}, and {f'host {here}' if here else 'another worker'} took it: "
            "start every worker of the pool as `python -m mixnet_flows.infra.worker`, which "
            "leaves other hosts' queues alone"
        )
    log = get_run_logger()
    if _has_ended(leader):
        # As when this host was away for longer: its watch has it go on once it is back.
        log.warning("the flow run that leads has ended: nothing is left to do")
        return None
    opened = open_workspace(workspace)
    existing, recipe = existing_run(opened, run)
    ranks = which_host(recipe.devices, node_rank=node_rank, environment={})

    def said(tick: Tick) -> None:
        if tick.milestone:
            log.info("%s", tick.detail)

    records = OnRecord(recipe, existing)
    context = Context(recipe, existing, opened, str(opened.releases), watch=said)
    dataset = records.dataset()
    trained = train(context, dataset, records.weights(), ranks)
    try:
        selection = select(context, dataset, trained, ranks)
        validate(context, dataset, trained, selection, ranks)
    except MixnetError as error:
        # It trained, which is what it is for: without it host 0 measures alone.
        log.warning("not measured here: %s", error)
    return trained


def _has_ended(leader: UUID) -> bool:
    """Tells whether a flow run has ended for good: one that crashed may go on by itself."""
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(leader).state
        except ObjectNotFound:
            return True
    return state is not None and state.is_final() and not state.is_crashed()
