"""`mixnet run` and a subcommand for each stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer

from mixnet_core import cli_imagenet, stages
from mixnet_core.cli_options import (
    EPILOG,
    AnywayOption,
    BatchOption,
    DataOption,
    EpochsOption,
    JsonOption,
    LrOption,
    NameOption,
    PublishOption,
    QuietOption,
    RanksOption,
    RecipeArgument,
    RecipeOption,
    RunOption,
    ScaleLrOption,
    SetOption,
    WeightsOption,
    WorkspaceOption,
    one_recipe,
    print_json,
)
from mixnet_core.errors import InputError
from mixnet_core.options import (
    DEFAULT_RECIPE,
    adjusted_recipe,
    open_workspace,
    parse_settings,
    releases_uri,
)
from mixnet_core.preflight import check_all, require
from mixnet_core.recipe import Recipe, stored_recipe
from mixnet_core.recipe_lines import recipe_lines
from mixnet_core.run_dir import RunDir, Workspace
from mixnet_core.runs import existing_run, open_run
from mixnet_core.stages.on_record import OnRecord
from mixnet_core.summaries import summary
from mixnet_core.terminal import TerminalWatch
from mixnet_core.values import Decision, Validation, Value


@dataclass(frozen=True)
class Job:
    """What one invocation works on."""

    recipe: Recipe
    run: RunDir
    workspace: Workspace
    releases: str
    name: str | None
    anyway: str | None

    @property
    def records(self) -> OnRecord:
        return OnRecord(self.recipe, self.run)


def _command(
    app: typer.Typer,
    name: str,
    work: Callable[[Job, TerminalWatch], dict[str, Value | None]],
    text: str,
) -> None:
    """Registers a subcommand; all of them take the same options."""

    def command(
        recipe: RecipeArgument = None,
        recipe_option: RecipeOption = None,
        run: RunOption = None,
        workspace: WorkspaceOption = None,
        publish_to: PublishOption = None,
        name: NameOption = None,
        accept_anyway: AnywayOption = None,
        data: DataOption = None,
        weights: WeightsOption = None,
        epochs: EpochsOption = None,
        global_batch: BatchOption = None,
        lr: LrOption = None,
        ranks: RanksOption = None,
        scale_lr: ScaleLrOption = False,
        set_: SetOption = None,
        as_json: JsonOption = False,
        quiet: QuietOption = False,
    ) -> None:
        place = open_workspace(workspace)
        options: dict[str, Any] = {
            "data": data,
            "weights": weights,
            "epochs": epochs,
            "global_batch": global_batch,
            "lr": lr,
            "ranks": ranks,
            "scale_lr": scale_lr,
            "settings": parse_settings(set_ or []),
        }
        chosen = one_recipe(recipe, recipe_option)
        job = _job(
            chosen, run, place, releases_uri(place, publish_to), name, accept_anyway, options
        )
        with TerminalWatch(quiet=quiet) as watch:
            results = work(job, watch)
        if as_json:
            values = {
                stage: value.model_dump(mode="json") if value else None
                for stage, value in results.items()
            }
            print_json({"run": job.run.name, **values})

    app.command(name, help=text, epilog=EPILOG)(command)


def _job(
    recipe: str | None,
    run: str | None,
    workspace: Workspace,
    releases: str,
    name: str | None,
    anyway: str | None,
    options: dict[str, Any],
) -> Job:
    if recipe is None and run is not None:
        settings = options.pop("settings")
        given = [f"--{key.replace('_', '-')}" for key, value in options.items() if value]
        if given:
            raise InputError(
                f"{', '.join(given)} would change the recipe of run {run}: leave it out, or "
                "name a recipe"
            )
        begun, effective = existing_run(workspace, run)
        if settings:
            # What computes nothing may change, as selection and acceptance; `open_run` refuses
            # the rest.
            effective = stored_recipe(begun.recipe, settings)
            begun, effective = open_run(effective, workspace, run)
        return Job(effective, begun, workspace, releases, name, anyway)
    effective = adjusted_recipe(recipe or DEFAULT_RECIPE, releases=releases, **options)
    begun, effective = open_run(effective, workspace, run)
    return Job(effective, begun, workspace, releases, name, anyway)


def _prepare(job: Job, watch: TerminalWatch) -> dict[str, Value | None]:
    dataset = stages.prepare(job.recipe, job.run, job.workspace, watch)
    watch.finished("prepare", summary(dataset))
    return {"prepare": dataset}


def _fetch(job: Job, watch: TerminalWatch) -> dict[str, Value | None]:
    weights = stages.fetch(job.recipe, job.run, job.workspace, job.releases, watch)
    watch.finished("fetch", summary(weights))
    return {"fetch": weights}


def _train(job: Job, watch: TerminalWatch) -> dict[str, Value | None]:
    require(check_all(job.recipe, workspace=job.workspace, publish_to=job.releases))
    dataset, weights = job.records.dataset(), job.records.weights()
    for line in recipe_lines(job.recipe):
        watch.line("recipe", line)
    trained = stages.train(job.recipe, job.run, dataset, weights, watch)
    watch.finished("train", summary(trained))
    return {"train": trained}


def _select(job: Job, watch: TerminalWatch) -> dict[str, Value | None]:
    dataset, trained = job.records.dataset(), job.records.trained()
    selection = stages.select(job.recipe, job.run, dataset, trained, watch)
    watch.finished("select", summary(selection))
    return {"select": selection}


def _validate(job: Job, watch: TerminalWatch) -> dict[str, Value | None]:
    dataset, trained = job.records.dataset(), job.records.trained()
    selection = job.records.selection()
    validation = stages.validate(job.recipe, job.run, dataset, trained, selection, watch)
    watch.finished("validate", summary(validation))
    return {"validate": validation}


def _accept(job: Job, watch: TerminalWatch) -> dict[str, Value | None]:
    decision = _decided(job, job.records.validation(), watch)
    watch.finished("accept", summary(decision))
    return {"accept": decision}


def _decided(job: Job, validation: Validation, watch: TerminalWatch) -> Decision:
    return stages.accept(
        job.recipe,
        job.run,
        job.records.dataset(),
        validation,
        workspace=job.workspace,
        releases=job.releases,
        anyway=job.anyway,
        watch=watch,
    )


def _publish(job: Job, watch: TerminalWatch) -> dict[str, Value | None]:
    validation = job.records.validation()
    decision = stages.standing_decision(job.recipe, job.run, validation, job.anyway)
    if decision is None:
        # There is none, or it is on another checkpoint or on other demands than these.
        decision = _decided(job, validation, watch)
        watch.finished("accept", summary(decision))
    release = stages.publish(
        job.recipe,
        job.run,
        job.records.dataset(),
        validation,
        decision,
        to=job.releases,
        weights=job.records.weights(),
        name=job.name,
    )
    watch.finished("publish", summary(release))
    return {"publish": release}


def _all(job: Job, watch: TerminalWatch) -> dict[str, Value | None]:
    require(check_all(job.recipe, workspace=job.workspace, publish_to=job.releases))
    results: dict[str, Value | None] = {}
    for stage in (_prepare, _fetch, _train, _select, _validate, _accept, _publish):
        results |= stage(job, watch)
    watch.line("report", str(job.run.report_page))
    return results


def add_to(app: typer.Typer) -> None:
    """In the order of the work."""
    _command(app, "run", _all, "All stages; started again, it goes on where it stopped.")
    _command(app, "prepare", _prepare, "Check, split and index the recipe's images.")
    cli_imagenet.add_to(app)
    _command(app, "fetch", _fetch, "Fetch and verify the weights that the recipe starts from.")
    _command(app, "train", _train, "Train on all ranks, resuming from the newest checkpoint.")
    _command(app, "select", _select, "Take the checkpoint that the recipe's policy says.")
    _command(app, "validate", _validate, "Measure the chosen checkpoint on val; write the report.")
    _command(app, "accept", _accept, "Decide whether it is good enough to be published.")
    _command(app, "publish", _publish, "Publish checkpoint, recipe and report as a release.")
