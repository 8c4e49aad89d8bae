"""The stages as Prefect tasks: each is its stage, shown, and tried again where that may help.

Call them, never `.submit()` them: a cancel is raised in the main thread only, and a stage that runs
in another thread would leave its processes behind. Nothing is cached by Prefect: a stage knows from
its own records whether its result is still there, a cache does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from flows.accelerators import accelerators_held
from flows.showing import show_curves, show_release, show_report, shown
from mixnet_core import preflight, stages
from mixnet_core.recipe import Recipe
from mixnet_core.run_dir import RunDir, Workspace
from mixnet_core.values import (
    Decision,
    FetchedWeights,
    PreparedDataset,
    Release,
    Selection,
    TrainedRun,
    Validation,
)


def worth_a_retry(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Only what the error itself calls passing: a wrong digest stays wrong, however often."""
    return bool(getattr(state.data, "retryable", False))


# 5 and 10 s: a storage service that restarts; a longer outage should be said before the work.
@task(
    name="check",
    retries=2,
    retry_delay_seconds=[5, 10],
    retry_condition_fn=worth_a_retry,
    cache_policy=NO_CACHE,
)
def check(recipe: Recipe, workspace: Workspace, releases: str) -> None:
    """Everything that would end the run later; see `mixnet_core.preflight`."""
    preflight.require(preflight.check_all(recipe, workspace=workspace, publish_to=releases))


# 10, 20, 40 s, spread: a download server that turns clients away, which several runs may have met.
@task(
    name="prepare",
    retries=3,
    retry_delay_seconds=exponential_backoff(10),
    retry_jitter_factor=0.5,
    retry_condition_fn=worth_a_retry,
    cache_policy=NO_CACHE,
)
def prepare(recipe: Recipe, run: RunDir, workspace: Workspace) -> PreparedDataset:
    return shown("prepare", run.name, lambda watch: stages.prepare(recipe, run, workspace, watch))


# 30 and 60 s, spread: fetching itself tries four times within seconds, so this is for real outages.
@task(
    name="fetch",
    retries=2,
    retry_delay_seconds=exponential_backoff(30),
    retry_jitter_factor=0.5,
    retry_condition_fn=worth_a_retry,
    cache_policy=NO_CACHE,
)
def fetch(
    recipe: Recipe, run: RunDir, workspace: Workspace, releases: str
) -> FetchedWeights | None:
    return shown(
        "fetch", run.name, lambda watch: stages.fetch(recipe, run, workspace, releases, watch)
    )


# Training goes on by itself while every attempt leaves a newer checkpoint; this is for one that
# left none. 5 s: a killed worker's memory is free by then. 30 s: its card is let go of. 120 s: a
# card or a link is reset, or another process has given back the memory that it took.
@task(
    name="train",
    retries=3,
    retry_delay_seconds=[5, 30, 120],
    retry_condition_fn=worth_a_retry,
    cache_policy=NO_CACHE,
)
def train(
    recipe: Recipe, run: RunDir, dataset: PreparedDataset, weights: FetchedWeights | None
) -> TrainedRun:
    with accelerators_held(recipe.devices):
        return shown(
            "train", run.name, lambda watch: stages.train(recipe, run, dataset, weights, watch)
        )


# Once more after 5 s, and once after 10: as for training, a killed process is all that can pass.
@task(
    name="select",
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=worth_a_retry,
    cache_policy=NO_CACHE,
)
def select(recipe: Recipe, run: RunDir, dataset: PreparedDataset, trained: TrainedRun) -> Selection:
    return shown(
        "select", run.name, lambda watch: stages.select(recipe, run, dataset, trained, watch)
    )


# As select.
@task(
    name="validate",
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=worth_a_retry,
    cache_policy=NO_CACHE,
)
def validate(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    trained: TrainedRun,
    selection: Selection,
) -> Validation:
    validation = shown(
        "validate",
        run.name,
        lambda watch: stages.validate(recipe, run, dataset, trained, selection, watch),
    )
    show_curves(run.name, Path(validation.report_json))
    return validation


# As fetch, for the release that it is measured against.
@task(
    name="accept",
    retries=2,
    retry_delay_seconds=exponential_backoff(30),
    retry_jitter_factor=0.5,
    retry_condition_fn=worth_a_retry,
    cache_policy=NO_CACHE,
)
def accept(
    recipe: Recipe,
    run: RunDir,
    workspace: Workspace,
    dataset: PreparedDataset,
    validation: Validation,
    *,
    releases: str,
    anyway: str | None,
) -> Decision:
    try:
        return shown(
            "accept",
            run.name,
            lambda watch: stages.accept(
                recipe,
                run,
                dataset,
                validation,
                workspace=workspace,
                releases=releases,
                anyway=anyway,
                watch=watch,
            ),
        )
    finally:
        # What fell short is in it too.
        show_report(run.name, Path(validation.report_markdown))


# 10 to 160 s, spread: after hours of training it is worth outlasting a storage service's restart;
# what was uploaded already is not uploaded again.
@task(
    name="publish",
    retries=5,
    retry_delay_seconds=exponential_backoff(10),
    retry_jitter_factor=0.5,
    retry_condition_fn=worth_a_retry,
    cache_policy=NO_CACHE,
)
def publish(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    validation: Validation,
    decision: Decision,
    weights: FetchedWeights | None,
    *,
    to: str,
    name: str | None,
) -> Release:
    release = shown(
        "publish",
        run.name,
        lambda watch: stages.publish(
            recipe, run, dataset, validation, decision, to=to, weights=weights, name=name
        ),
    )
    show_release(run.name, release)
    return release
