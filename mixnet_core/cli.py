"""`mixnet`: every stage as a subcommand, without Prefect.

Results go to standard output, progress and errors to standard error. Exit codes: `errors`, 130 for
Ctrl-C.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated, Any

import typer
import yaml

from mixnet_core import cli_imagenet, stages
from mixnet_core.cli_options import (
    EPILOG,
    BatchOption,
    DataOption,
    EpochsOption,
    JsonOption,
    LrOption,
    NamedRecipeArgument,
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
)
from mixnet_core.errors import InputError, MixnetError
from mixnet_core.options import (
    DEFAULT_RECIPE,
    adjusted_recipe,
    open_workspace,
    parse_settings,
    releases_uri,
)
from mixnet_core.preflight import check_all, require
from mixnet_core.recipe import Recipe, load_recipe, recipe_names
from mixnet_core.recipe_lines import recipe_lines
from mixnet_core.release.publish import list_releases, release_names
from mixnet_core.revalidation import (
    STAGE,
    Revalidation,
    not_measured,
    require_all_hold,
    revalidate_release,
)
from mixnet_core.run_dir import RunDir, Workspace
from mixnet_core.runs import existing_run, open_run, recorded
from mixnet_core.summaries import summary
from mixnet_core.terminal import TerminalWatch
from mixnet_core.values import (
    FetchedWeights,
    PreparedDataset,
    Selection,
    TrainedRun,
    Validation,
    Value,
)

# What typer makes of Ctrl-C.
_INTERRUPTED = 130

app = typer.Typer(
    cls=cli_imagenet.TwoWordCommands,
    help="Train, fine-tune, validate and publish MixNet on MindSpore.",
    epilog=EPILOG,
    no_args_is_help=True,
    # Its tracebacks print local variables, and those can hold secrets.
    pretty_exceptions_enable=False,
    add_completion=False,
)
recipe_app = typer.Typer(help="Look at recipes.", no_args_is_help=True)
app.add_typer(recipe_app, name="recipe")


@dataclass(frozen=True)
class Job:
    """What one invocation works on."""

    recipe: Recipe
    run: RunDir
    workspace: Workspace
    releases: str
    name: str | None


def _stage_command(
    name: str, work: Callable[[Job, TerminalWatch], dict[str, Value | None]], text: str
) -> None:
    """Registers a subcommand; all of them take the same options."""

    def command(
        recipe: RecipeArgument = None,
        recipe_option: RecipeOption = None,
        run: RunOption = None,
        workspace: WorkspaceOption = None,
        publish_to: PublishOption = None,
        name: NameOption = None,
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
        chosen = _one_recipe(recipe, recipe_option)
        job = _job(chosen, run, place, releases_uri(place, publish_to), name, options)
        with TerminalWatch(quiet=quiet) as watch:
            results = work(job, watch)
        if as_json:
            values = {
                stage: value.model_dump(mode="json") if value else None
                for stage, value in results.items()
            }
            _print_json({"run": job.run.name, **values})

    app.command(name, help=text, epilog=EPILOG)(command)


def _one_recipe(argument: str | None, option: str | None) -> str | None:
    if argument is not None and option is not None:
        raise InputError(f"two recipes, {argument} and --recipe {option}: name one")
    return argument if option is None else option


def _named_recipe(argument: str | None, option: str | None) -> str:
    recipe = _one_recipe(argument, option)
    if recipe is None:
        raise InputError("no recipe: name a bundled one (`mixnet recipe list`) or a YAML file")
    return recipe


def _job(
    recipe: str | None,
    run: str | None,
    workspace: Workspace,
    releases: str,
    name: str | None,
    options: dict[str, Any],
) -> Job:
    if recipe is None and run is not None:
        names = {"settings": "--set"}
        given = [
            names.get(key, f"--{key.replace('_', '-')}") for key, value in options.items() if value
        ]
        if given:
            raise InputError(
                f"{', '.join(given)} would change the recipe of run {run}: leave it out, or "
                "name a recipe"
            )
        begun, effective = existing_run(workspace, run)
        return Job(effective, begun, workspace, releases, name)
    effective = adjusted_recipe(recipe or DEFAULT_RECIPE, releases=releases, **options)
    return Job(effective, open_run(effective, workspace, run), workspace, releases, name)


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
    dataset = recorded(job.run, "prepare", PreparedDataset)
    for line in recipe_lines(job.recipe):
        watch.line("recipe", line)
    trained = stages.train(job.recipe, job.run, dataset, _weights(job), watch)
    watch.finished("train", summary(trained))
    return {"train": trained}


def _select(job: Job, watch: TerminalWatch) -> dict[str, Value | None]:
    dataset = recorded(job.run, "prepare", PreparedDataset)
    trained = recorded(job.run, "train", TrainedRun)
    selection = stages.select(job.recipe, job.run, dataset, trained, watch)
    watch.finished("select", summary(selection))
    return {"select": selection}


def _validate(job: Job, watch: TerminalWatch) -> dict[str, Value | None]:
    dataset = recorded(job.run, "prepare", PreparedDataset)
    trained = recorded(job.run, "train", TrainedRun)
    selection = recorded(job.run, "select", Selection)
    validation = stages.validate(job.recipe, job.run, dataset, trained, selection, watch)
    watch.finished("validate", summary(validation))
    return {"validate": validation}


def _publish(job: Job, watch: TerminalWatch) -> dict[str, Value | None]:
    dataset = recorded(job.run, "prepare", PreparedDataset)
    validation = recorded(job.run, "validate", Validation)
    release = stages.publish(
        job.recipe,
        job.run,
        dataset,
        validation,
        to=job.releases,
        weights=_weights(job),
        name=job.name,
    )
    watch.finished("publish", summary(release))
    return {"publish": release}


def _all(job: Job, watch: TerminalWatch) -> dict[str, Value | None]:
    require(check_all(job.recipe, workspace=job.workspace, publish_to=job.releases))
    results: dict[str, Value | None] = {}
    for stage in (_prepare, _fetch, _train, _select, _validate, _publish):
        results |= stage(job, watch)
    watch.line("report", str(job.run.report_markdown))
    return results


def _weights(job: Job) -> FetchedWeights | None:
    return recorded(job.run, "fetch", FetchedWeights) if job.recipe.weights.name else None


_stage_command("run", _all, "All six stages; started again, it goes on where it stopped.")
_stage_command("prepare", _prepare, "Check, split and index the recipe's images.")
cli_imagenet.add_to(app)
_stage_command("fetch", _fetch, "Fetch and verify the weights that the recipe starts from.")
_stage_command("train", _train, "Train on all ranks, resuming from the newest checkpoint.")
_stage_command("select", _select, "Choose the checkpoint with the best top-1 on the select split.")
_stage_command("validate", _validate, "Measure the chosen checkpoint on val; write the report.")
_stage_command("publish", _publish, "Publish checkpoint, recipe and report as a release.")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mixnet {metadata.version('mixnet')}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


@app.command(epilog=EPILOG)
def check(
    recipe: NamedRecipeArgument = None,
    recipe_option: RecipeOption = None,
    workspace: WorkspaceOption = None,
    publish_to: PublishOption = None,
    data: DataOption = None,
    weights: WeightsOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say before the work what would end it: packages, devices, disk, data, permissions."""
    place = open_workspace(workspace)
    named = _named_recipe(recipe, recipe_option)
    releases = releases_uri(place, publish_to)
    checked = adjusted_recipe(
        named, data=data, weights=weights, releases=releases, settings=parse_settings(set_ or [])
    )
    results = check_all(checked, workspace=place, publish_to=releases)
    if as_json:
        _print_json({"checks": [result.model_dump(mode="json") for result in results]})
    else:
        for result in results:
            fix = f"; {result.fix}" if result.fix else ""
            typer.echo(f"{'ok' if result.ok else 'FAIL':<4} {result.name:<9} {result.detail}{fix}")
    require(result for result in results if not as_json or not result.ok)


@app.command(epilog=EPILOG)
def releases(
    workspace: WorkspaceOption = None,
    publish_to: PublishOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is published."""
    found = list_releases(releases_uri(open_workspace(workspace), publish_to))
    if as_json:
        _print_json({"releases": [item.model_dump(mode="json") for item in found]})
        return
    for item in found:
        val = item.facts.get("val")
        top1 = f"top-1 {100 * val['top1']:.2f} %" if val else "no figures"
        typer.echo(f"{item.name:<24} {top1:<14} {item.uri}")


@app.command(epilog=EPILOG)
def revalidate(
    workspace: WorkspaceOption = None,
    publish_to: PublishOption = None,
    data: DataOption = None,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", help="Share of images by which top-1 may be below.", min=0),
    ] = 0.001,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure every published release again; fail naming those that are worse than published."""
    place = open_workspace(workspace)
    where = releases_uri(place, publish_to)
    results: list[Revalidation] = []
    with TerminalWatch(quiet=quiet) as watch:
        for name in release_names(where):
            uri = f"{where}/{name}"
            try:
                result = revalidate_release(
                    uri, workspace=place, data=data, tolerance=tolerance, watch=watch
                )
            except MixnetError as error:
                result = not_measured(uri, error)
            watch.finished(STAGE, summary(result))
            results.append(result)
    if as_json:
        _print_json({"revalidations": [result.model_dump(mode="json") for result in results]})
    require_all_hold(results)


@recipe_app.command("list")
def recipe_list() -> None:
    """The bundled recipes, a line each."""
    for name in recipe_names():
        typer.echo(f"{name:<14} {load_recipe(name).description}")


@recipe_app.command("show")
def recipe_show(
    recipe: NamedRecipeArgument = None,
    recipe_option: RecipeOption = None,
    set_: SetOption = None,
) -> None:
    """Print a recipe in full, as it would run: a start for one of your own."""
    named = _named_recipe(recipe, recipe_option)
    effective = adjusted_recipe(named, settings=parse_settings(set_ or []))
    typer.echo(yaml.safe_dump(effective.model_dump(mode="json"), sort_keys=False), nl=False)


def _print_json(data: object) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def main() -> None:
    """Runs the command line; a user's mistake ends in one line, never in a traceback."""
    logging.basicConfig(level=logging.WARNING, format="mixnet: %(message)s", stream=sys.stderr)
    try:
        app()
    except MixnetError as error:
        if "--json" in sys.argv:
            fields = {
                "type": type(error).__name__,
                "message": str(error),
                "retryable": error.retryable,
            }
            _print_json({"error": fields})
        typer.echo(f"mixnet: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    except SystemExit as done:
        if done.code == _INTERRUPTED:
            typer.echo("mixnet: interrupted; the same command goes on where it stopped", err=True)
        raise


if __name__ == "__main__":
    main()
