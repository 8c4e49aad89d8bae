"""`mixnet runs`: what a workspace holds on disk, and cleaning it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mixnet_core.cli.ages import OlderThanOption, seconds_of
from mixnet_core.cli.options import EPILOG, JsonOption
from mixnet_core.cli.outcome import print_json
from mixnet_core.errors import InputError
from mixnet_core.revalidation.states import percent
from mixnet_core.runs.markup import visible
from mixnet_core.runs.records import existing_run
from mixnet_core.stages.compared_runs import compared_runs, comparison_page
from mixnet_core.stages.mlflow_run import EXPERIMENT, hand_over
from mixnet_core.stages.options import WorkspaceOption, open_workspace
from mixnet_core.stages.workspace_use import (
    KINDS,
    LEAST_SECONDS,
    Kept,
    KeptRun,
    Kind,
    Use,
    clean,
    clean_run,
    workspace_use,
)
from mixnet_core.storage.files import expect_writable, write_text
from mixnet_core.storage.sizes import size
from mixnet_core.train.figures import Figures

runs_app = typer.Typer(
    help="List runs, datasets, weights and caches with their sizes; clean them.",
    invoke_without_command=True,
    epilog=EPILOG,
)


@runs_app.callback()
def runs(
    context: typer.Context,
    workspace: WorkspaceOption = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            help="Write a page that compares all runs: curves over each other, figures, recipes.",
            metavar="FILE",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List runs, datasets, weights and caches with their sizes; clean them."""
    if context.invoked_subcommand is not None:
        if html is not None:
            raise InputError(
                f"--html belongs to `mixnet runs` alone: leave {context.invoked_subcommand} out"
            )
        return
    opened = open_workspace(workspace)
    if html is not None:
        expect_writable(html)
    use = workspace_use(opened)
    compared = compared_runs(opened, use.runs) if html is not None or as_json else []
    if html is not None:
        write_text(html, comparison_page(compared, now=time.time()))
    if as_json:
        figures = {run.name: run.figures for run in compared}
        print_json(
            {
                "runs": [_run_json(run, figures[run.name]) for run in use.runs],
                **{kind: [_kept_json(item) for item in getattr(use, kind)] for kind in KINDS},
                **({"html": str(html)} if html is not None else {}),
            }
        )
    elif html is not None:
        count = len(compared)
        typer.echo(f"{count} run{'' if count == 1 else 's'} in {visible(str(html))}")
    elif sys.stdout.isatty():
        _print_tables(use)
    else:
        _print_lines(use)


@runs_app.command("clean", epilog=EPILOG)
def clean_up(
    names: Annotated[
        list[str] | None, typer.Argument(help="Runs to remove, by name.", metavar="RUN...")
    ] = None,
    datasets: Annotated[
        bool, typer.Option("--datasets", help="Prepared datasets that no run needs.")
    ] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="Fetched weights that no run needs.")
    ] = False,
    cache: Annotated[
        bool,
        typer.Option("--cache", help="What is made anew: operators, exported models, evaluations."),
    ] = False,
    older_than: OlderThanOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove runs by name, or what no run needs; never what a process works on.

    Datasets, weights and caches that were written within the last hour stay, unless --older-than
    says otherwise. Published releases are not touched.
    """
    given = {"datasets": datasets, "weights": weights, "cache": cache}
    kinds: list[Kind] = [kind for kind in KINDS if given[kind]]
    if not names and not kinds:
        raise InputError("nothing to clean: name runs, or give --datasets, --weights or --cache")
    opened = open_workspace(workspace)
    removed: list[Kept] = []
    left: list[tuple[Kept, str]] = []
    seconds = None if older_than is None else seconds_of(older_than)
    for run in [item for item in workspace_use(opened).runs if item.name in (names or ())]:
        if seconds is not None and datetime.now(UTC).timestamp() - run.touched < seconds:
            left.append((run, "written not long ago"))
            names = [name for name in names or () if name != run.name]
    names = list(dict.fromkeys(names or ()))
    # All of them first: a slip in one name must not end this when others are gone.
    would_go = [clean_run(opened, name, dry_run=True) for name in names]
    removed += would_go if dry_run else [clean_run(opened, name) for name in names]
    older = LEAST_SECONDS if seconds is None else seconds
    gone, kept = clean(opened, kinds, older_seconds=older, dry_run=dry_run)
    removed, left = [*removed, *gone], [*left, *kept]
    if as_json:
        print_json(
            {
                "removed": [_kept_json(item) for item in removed],
                "left": [{**_kept_json(item), "why": why} for item, why in left],
                "dry_run": dry_run,
            }
        )
        return
    for item in removed:
        state = "would go" if dry_run else "removed"
        typer.echo(f"{state:<9} {size(item.bytes):>9} {visible(str(item.path))}")
    for item, why in left:
        typer.echo(f"{'left':<9} {size(item.bytes):>9} {visible(str(item.path))}: {why}")
    verb = "would be" if dry_run else "are"
    typer.echo(f"{size(sum(item.bytes for item in removed))} {verb} freed")


@runs_app.command("export", epilog=EPILOG)
def export_runs(
    names: Annotated[list[str], typer.Argument(help="Finished runs, by name.", metavar="RUN...")],
    mlflow: Annotated[
        bool, typer.Option("--mlflow", help="To MLflow; needs the extra `mlflow`.")
    ] = False,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            "--tracking-uri",
            help="MLflow's server or database; default $MLFLOW_TRACKING_URI.",
            metavar="URI",
        ),
    ] = None,
    experiment: Annotated[
        str, typer.Option("--experiment", help="MLflow's; made if missing.", metavar="NAME")
    ] = EXPERIMENT,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hand over runs to another tracker: recipe, metrics and score.

    Again, it takes the place of what was handed over before.
    """
    if not mlflow:
        raise InputError("export to what? give --mlflow")
    opened = open_workspace(workspace)
    # All of them first: a slip in one name must not end this when others are there.
    found = [existing_run(opened, name) for name in dict.fromkeys(names)]
    made = {run.name: hand_over(run, recipe, tracking_uri, experiment) for run, recipe in found}
    if as_json:
        print_json({"experiment": experiment, "runs": made})
        return
    for name, run_id in made.items():
        typer.echo(f"{visible(name)}: MLflow run {run_id} in {visible(experiment)}")


def add_to(app: typer.Typer) -> None:
    """Registers the commands."""
    app.add_typer(runs_app, name="runs")


def _print_tables(use: Use) -> None:
    console = Console()
    table = Table(title="runs")
    for title in ("run", "recipe", "reached", "top-1", "size", "last written, UTC"):
        table.add_column(title, justify="right" if title in ("top-1", "size") else "left")
    for run in use.runs:
        state = f"{run.stage or 'nothing'}{', at work' if run.at_work else ''}"
        top1 = "" if run.top1 is None else percent(run.top1)
        table.add_row(
            Text(visible(run.name)), Text(visible(run.recipe)), state, top1, size(run.bytes),
            _time(run.touched).replace("T", " ")[:16],
        )  # fmt: skip
    console.print(table)
    others = Table(title="datasets, weights, caches")
    for title in ("kind", "name", "size", "last written, UTC", "needed by"):
        others.add_column(title, justify="right" if title == "size" else "left")
    for kind in KINDS:
        for item in getattr(use, kind):
            others.add_row(
                kind, Text(visible(item.name)), size(item.bytes),
                _time(item.touched).replace("T", " ")[:16], ", ".join(item.needed),
            )  # fmt: skip
    console.print(others)
    console.print(f"in all {size(_total(use))}")


def _print_lines(use: Use) -> None:
    for run in use.runs:
        top1 = "no figures" if run.top1 is None else f"top-1 {percent(run.top1)}"
        state = f"{run.stage or 'nothing'}{' at work' if run.at_work else ''}"
        typer.echo(
            f"run {visible(run.name):<28} {state:<9} {top1:<14} {size(run.bytes):>9} "
            f"{_time(run.touched)} {visible(run.recipe)}"
        )
    for kind in KINDS:
        for item in getattr(use, kind):
            needed = f" needed by {', '.join(item.needed)}" if item.needed else ""
            typer.echo(
                f"{kind} {visible(item.name):<28} {size(item.bytes):>9} {_time(item.touched)}"
                f"{needed}"
            )


def _run_json(run: KeptRun, figures: Figures) -> dict[str, Any]:
    more: dict[str, Any] = {
        "recipe": run.recipe,
        "stage": run.stage,
        "top1": run.top1,
        "at_work": run.at_work,
    }
    return {**_kept_json(run), **more, "training": asdict(figures)}


def _kept_json(item: Kept) -> dict[str, Any]:
    return {
        "name": item.name,
        "path": str(item.path),
        "bytes": item.bytes,
        "touched": _time(item.touched),
        "needed_by": list(item.needed),
    }


def _total(use: Use) -> int:
    everything: Sequence[Kept] = (*use.runs, *use.datasets, *use.weights, *use.cache)
    return sum(item.bytes for item in everything)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
