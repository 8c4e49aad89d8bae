"""The flow `mixnet`: from a recipe to a published release."""

from __future__ import annotations

from typing import Any

from prefect import flow

from mixnet_core.runs.values import Release
from mixnet_core.stages.context import open_context
from mixnet_core.stages.options import (
    DEFAULT_RECIPE,
    AcceptAnywayOption,
    DataOption,
    EpochsOption,
    GlobalBatchOption,
    HostsParameter,
    LrOption,
    RanksOption,
    RegistryOption,
    ReleaseOption,
    RunOption,
    ScaleLrOption,
    SingleWriterOption,
    Text,
    WeightsOption,
    WorkspaceOption,
    adjusted_recipe,
    documented,
    one_registry,
    open_workspace,
    registry_uri,
)
from mixnet_core.storage.uris import refuse_credentials
from mixnet_flows import tasks
from mixnet_flows.guarded import guarded
from mixnet_flows.nodes import nodes_let_go
from mixnet_flows.showing import describe_flow_run


@flow(name="mixnet")
@guarded
@documented
def mixnet(
    recipe: Text = DEFAULT_RECIPE,
    data: DataOption = None,
    run: RunOption = None,
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    release: ReleaseOption = None,
    weights: WeightsOption = None,
    epochs: EpochsOption = None,
    global_batch: GlobalBatchOption = None,
    lr: LrOption = None,
    ranks: RanksOption = None,
    hosts: HostsParameter = None,
    scale_lr: ScaleLrOption = False,
    accept_anyway: AcceptAnywayOption = None,
    single_writer: SingleWriterOption = False,
    settings: dict[str, Any] | None = None,
    publish_to: Text | None = None,
) -> Release:
    """Train, select, validate, accept and publish one MixNet; again, it skips what is done."""
    refuse_credentials(recipe, data, run, workspace, registry, release, weights, publish_to)
    refuse_credentials(accept_anyway, settings)
    opened = open_workspace(workspace)
    uri = registry_uri(opened, one_registry(registry, publish_to))
    chosen = adjusted_recipe(
        recipe,
        data=data,
        weights=weights,
        registry=uri,
        epochs=epochs,
        global_batch=global_batch,
        lr=lr,
        ranks=ranks,
        hosts=hosts,
        scale_lr=scale_lr,
        settings=settings,
    )
    context = open_context(chosen, opened, run=run, registry=uri, single_writer=single_writer)
    describe_flow_run(context.run.name, context.recipe)

    tasks.check(context)
    dataset = tasks.prepare(context, accept_anyway)
    initial = tasks.fetch(context)
    with nodes_let_go(context):
        trained = tasks.train(context, dataset, initial)
        selection = tasks.select(context, dataset, trained)
        validation = tasks.validate(context, dataset, trained, selection)
    decision = tasks.accept(context, dataset, validation, accept_anyway)
    # Of a recipe that asks for none the dashboard shows no task.
    exported = (
        tasks.export(context, dataset, validation, decision, release)
        if context.recipe.export.formats
        else None
    )
    return tasks.publish(context, dataset, validation, decision, initial, release, exported)
