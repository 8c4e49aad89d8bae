"""`mixnet`: every stage as a subcommand, without Prefect.

Results go to standard output, progress and errors to standard error. Exit codes: `errors`, 130 for
Ctrl-C, 143 for SIGTERM; `outcome` prints both.
"""

from __future__ import annotations

import logging
import sys
from importlib import metadata
from typing import Annotated

import typer

from mixnet_core.cli import checking as cli_checking
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
    NamedRecipeArgument,
    RecipeOption,
    SetOption,
    named_recipe,
    refuse_empty,
)
from mixnet_core.cli.outcome import ended, raised_when_terminated
from mixnet_core.recipe.recipe import load_recipe, recipe_names
from mixnet_core.stages.options import adjusted_recipe, parse_settings
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
cli_checking.add_to(app)


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
