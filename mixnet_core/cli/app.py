"""`mixnet`: every stage as a subcommand, without Prefect.

Results go to standard output, progress and errors to standard error. Exit codes: `errors`, 130 for
Ctrl-C, 143 for SIGTERM; `outcome` prints both.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer

from mixnet_core.cli import deployments as cli_deployments
from mixnet_core.cli import draining as cli_draining
from mixnet_core.cli import exporting as cli_exporting
from mixnet_core.cli import imagenet as cli_imagenet
from mixnet_core.cli import importing as cli_importing
from mixnet_core.cli import measuring as cli_measuring
from mixnet_core.cli import metrics as cli_metrics
from mixnet_core.cli import predicting as cli_predicting
from mixnet_core.cli import releases as cli_releases
from mixnet_core.cli import runs as cli_runs
from mixnet_core.cli import stages as cli_stages
from mixnet_core.cli.options import (
    EPILOG,
    HostOption,
    JsonOption,
    NamedRecipeArgument,
    RecipeOption,
    SetOption,
    named_recipe,
    refuse_empty,
)
from mixnet_core.cli.outcome import ended, print_json, raised_when_terminated
from mixnet_core.recipe.recipe import load_recipe, recipe_names
from mixnet_core.stages.check import check_all, require
from mixnet_core.stages.check_host import check_host
from mixnet_core.stages.check_result import CheckResult
from mixnet_core.stages.options import (
    DataOption,
    RegistryOption,
    SingleWriterOption,
    WeightsOption,
    WorkspaceOption,
    adjusted_recipe,
    open_workspace,
    parse_settings,
    registry_uri,
)
from mixnet_core.storage.uris import refuse_arguments
from mixnet_core.storage.yaml_files import dump_yaml

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
cli_stages.add_to(app)
cli_measuring.add_to(app)
cli_importing.add_to(app)
cli_releases.add_to(app)
cli_exporting.add_to(app)
cli_predicting.add_to(app)
cli_runs.add_to(app)
cli_draining.add_to(app)
cli_metrics.add_to(app)
cli_deployments.add_to(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mixnet {metadata.version('mindspore-mixnet')}")
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
    registry: RegistryOption = None,
    data: DataOption = None,
    weights: WeightsOption = None,
    single_writer: SingleWriterOption = False,
    set_: SetOption = None,
    host: HostOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say before the work what would end it: packages, devices, disk, data, permissions.

    With --host: the host's versions, devices, limits, locks, ports, clock and Prefect server too.
    """
    opened = open_workspace(workspace)
    uri = registry_uri(opened, registry)
    results: list[CheckResult] = []
    checked = None
    if not host or recipe or recipe_option or data or weights or set_:
        named = named_recipe(recipe, recipe_option)
        checked = adjusted_recipe(
            named, data=data, weights=weights, registry=uri, settings=parse_settings(set_ or [])
        )
    if host:
        results += check_host(opened, checked, registry=uri)
    if checked is not None:
        results += check_all(checked, workspace=opened, registry=uri, single_writer=single_writer)
    if as_json:
        print_json({"checks": [result.model_dump(mode="json") for result in results]})
    else:
        _print_checks(results)
    require(result for result in results if not as_json or not result.ok)


_MARKS = {"": "ok", "warning": "WARN", "unknown": "?", "absent": "-"}


def _print_checks(results: Sequence[CheckResult]) -> None:
    for result in results:
        mark = _MARKS[result.note] if result.ok else "FAIL"
        fix = f"; {result.fix}" if result.fix else ""
        typer.echo(f"{mark:<4} {result.name:<9} {result.detail}{fix}")
        for line in result.more:
            typer.echo(f"{'':<14} {line}")


@recipe_app.command("list")
def recipe_list() -> None:
    """List the bundled recipes, one per line."""
    for name in recipe_names():
        typer.echo(f"{name:<14} {load_recipe(name).description}")


@recipe_app.command("show")
def recipe_show(
    recipe: NamedRecipeArgument = None,
    recipe_option: RecipeOption = None,
    set_: SetOption = None,
) -> None:
    """Print a recipe in full, as it would run: a start for one of your own."""
    named = named_recipe(recipe, recipe_option)
    full = adjusted_recipe(named, settings=parse_settings(set_ or []))
    typer.echo(dump_yaml(full.model_dump(mode="json")), nl=False)


def main() -> None:
    """Runs the command line; a user's mistake ends in one line, never in a traceback."""
    logging.basicConfig(level=logging.WARNING, format="mixnet: %(message)s", stream=sys.stderr)
    arguments = sys.argv[1:]

    def work() -> int | None:
        # Before anything of it is written down, or printed by who refuses it.
        refuse_arguments(arguments)
        refuse_empty(arguments)
        code: int | None = app(standalone_mode=False, prog_name="mixnet")
        return code

    with raised_when_terminated():
        raise SystemExit(ended(work, as_json="--json" in arguments))


if __name__ == "__main__":
    main()
