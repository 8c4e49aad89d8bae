"""The stages as Prefect tasks: each is its stage, shown, and tried again where that may help.

Call them, never `.submit()` them: a cancel is raised in the main thread only, and a stage that runs
in another thread would leave its processes behind. Nothing is cached by Prefect: a stage knows from
its own records whether its result is still there, a cache does not.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from mixnet_core.runs.export_values import Exported
from mixnet_core.runs.values import (
    Decision,
    FetchedWeights,
    PreparedDataset,
    Release,
    Selection,
    TrainedRun,
    Validation,
)
from mixnet_core.stages import table
from mixnet_core.stages.accept import accept as accept_stage
from mixnet_core.stages.check import check as check_stage
from mixnet_core.stages.context import Context
from mixnet_core.stages.export import export as export_stage
from mixnet_core.stages.fetch import fetch as fetch_stage
from mixnet_core.stages.prepare import prepare as prepare_stage
from mixnet_core.stages.publish import publish as publish_stage
from mixnet_core.stages.select import select as select_stage
from mixnet_core.stages.train import train as train_stage
from mixnet_core.stages.train import trained_already
from mixnet_core.stages.validate import validate as validate_stage
from mixnet_flows.accelerators import accelerators_held
from mixnet_flows.curves import LiveCurves
from mixnet_flows.nodes import nodes_of_before_let_go, nodes_started, nodes_there
from mixnet_flows.showing import show_exports, show_release, show_report, shown

P = ParamSpec("P")
R = TypeVar("R")


def worth_a_retry(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Tells whether the error itself says that it passes: a wrong digest stays wrong."""
    return bool(getattr(state.data, "retryable", False))


def as_task(stage: table.Stage) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Makes a Prefect task of a stage's function, named and tried again as the table says."""
    retries = stage.retries
    return task(
        name=stage.name,
        # Beside the run's name in the dashboard, not `train-74d`.
        task_run_name=f"{stage.name} {{context.run.name}}",
        retries=len(retries.delays),
        retry_delay_seconds=list(retries.delays),
        retry_jitter_factor=retries.spread or None,
        retry_condition_fn=worth_a_retry,
        cache_policy=NO_CACHE,
    )


@as_task(table.CHECK)
def check(context: Context) -> None:
    """Raises the first of what would end the run later."""
    check_stage(context)


@as_task(table.PREPARE)
def prepare(context: Context, override: str | None = None) -> PreparedDataset:
    """Prepares the dataset, with a bar."""
    return shown("prepare", context, lambda watched: prepare_stage(watched, override))


@as_task(table.FETCH)
def fetch(context: Context) -> FetchedWeights | None:
    """Fetches the initial weights, with a bar."""
    return shown("fetch", context, fetch_stage)


@as_task(table.TRAIN)
def train(context: Context, dataset: PreparedDataset, weights: FetchedWeights | None) -> TrainedRun:
    """Trains, holding as many of the server's accelerators as there are ranks on all hosts.

    What is trained already needs no accelerator and no other host.
    """
    with ExitStack() as stack:
        host = None
        if trained_already(context, dataset, weights) is None:
            stack.enter_context(accelerators_held(context.recipe.devices))
            host = stack.enter_context(nodes_started(context))
        else:
            nodes_of_before_let_go(context)
        return shown(
            "train",
            context,
            lambda watched: train_stage(watched, dataset, weights, host),
            also=[LiveCurves(context.run)],
        )


@as_task(table.SELECT)
def select(context: Context, dataset: PreparedDataset, trained: TrainedRun) -> Selection:
    """Selects a checkpoint, with a bar, and with the hosts that trained."""
    host = nodes_there(context)
    return shown("select", context, lambda watched: select_stage(watched, dataset, trained, host))


@as_task(table.VALIDATE)
def validate(
    context: Context, dataset: PreparedDataset, trained: TrainedRun, selection: Selection
) -> Validation:
    """Validates the selected checkpoint, with the hosts that trained; then shows how it trained."""
    host = nodes_there(context)
    validation = shown(
        "validate",
        context,
        lambda watched: validate_stage(watched, dataset, trained, selection, host),
    )
    # Where it was trained before this flow run, nothing was drawn yet.
    LiveCurves(context.run).show()
    return validation


@as_task(table.ACCEPT)
def accept(
    context: Context, dataset: PreparedDataset, validation: Validation, override: str | None
) -> Decision:
    """Decides, and shows the report: what fell short is in it too."""
    try:
        return shown(
            "accept",
            context,
            lambda watched: accept_stage(watched, dataset, validation, override),
        )
    finally:
        show_report(context.run.name, Path(validation.report_markdown))


@as_task(table.EXPORT)
def export(
    context: Context,
    dataset: PreparedDataset,
    validation: Validation,
    decision: Decision,
    release: str | None,
) -> Exported:
    """Exports, and shows what was proven of each format."""
    exported = shown(
        "export",
        context,
        lambda watched: export_stage(watched, dataset, validation, decision, release),
    )
    show_exports(context.run.name, exported)
    return exported


@as_task(table.PUBLISH)
def publish(
    context: Context,
    dataset: PreparedDataset,
    validation: Validation,
    decision: Decision,
    weights: FetchedWeights | None,
    release: str | None,
    exported: Exported | None = None,
) -> Release:
    """Publishes, and shows where the release is."""
    published = shown(
        "publish",
        context,
        lambda watched: publish_stage(
            watched, dataset, validation, decision, weights, release, exported
        ),
    )
    show_release(context.run.name, published)
    return published
