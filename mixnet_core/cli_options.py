"""The options that several subcommands of `mixnet` share, with their help texts."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from mixnet_core.errors import InputError
from mixnet_core.options import DEFAULT_RECIPE
from mixnet_core.uris import shown

EPILOG = (
    "Exit codes: 0 done; 2 a mistake in what was asked; 3 this machine lacks something; 4 bytes "
    "are not what they should be; 5 another release has the name; 6 a stage failed; 7 the network "
    "or a service failed, try again; 8 not accepted; 130 interrupted."
)

RecipeArgument = Annotated[
    str | None,
    typer.Argument(
        help="A bundled recipe's name (`mixnet recipe list`) or a YAML file, ours or MindCV's. "
        f"Without it the recipe of --run; without both: {DEFAULT_RECIPE}.",
        show_default=False,
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="The same as RECIPE: a name or a YAML file, MindCV's too.",
        metavar="RECIPE",
    ),
]
NamedRecipeArgument = Annotated[
    str | None,
    typer.Argument(
        help="A bundled recipe's name or a YAML file, ours or MindCV's.", show_default=False
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", help="Name of the run. Default: recipe's name and fingerprint."),
]
WorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        help="Folder for datasets, runs, releases. Default: $MIXNET_HOME, else ./workspace.",
    ),
]
PublishOption = Annotated[
    str | None,
    typer.Option(
        "--publish-to",
        help="Where releases go and are looked up: a folder, file:///PATH or "
        "s3://BUCKET/PREFIX. Default: releases/ in the workspace.",
    ),
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="Name of the release. Default: the run's.")
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", help="Folder of images with train/ and val/ (or of IDX files)."),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="Name or URI of the release to start from. Its network is taken over; its classifier "
        "is, where the images are of its classes.",
    ),
]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", help="Length; the schedule is stretched with it.")
]
BatchOption = Annotated[
    int | None, typer.Option("--global-batch", help="Images a step, over all ranks.")
]
LrOption = Annotated[
    float | None,
    typer.Option(
        "--lr", help="Peak learning rate; where rates are scaled, the one for schedule.lr_batch."
    ),
]
RanksOption = Annotated[
    int | None,
    typer.Option(
        "--ranks",
        help="Worker processes, one a device; 1: no msrun. The global batch stays what it was.",
    ),
]
ScaleLrOption = Annotated[
    bool,
    typer.Option(
        "--scale-lr",
        help="With --ranks: keep the images a rank instead, the global batch follows. The learning "
        "rates are scaled with the global batch.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any key of the recipe, as in training.seed=7. Repeatable.",
    ),
]
AnywayOption = Annotated[
    str | None,
    typer.Option(
        "--accept-anyway",
        metavar="REASON",
        help="Publish whatever acceptance.* demands; the reason goes into report and release.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Results as one JSON object on standard output.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def one_recipe(argument: str | None, option: str | None) -> str | None:
    """RECIPE or --recipe. Raises InputError if both are there."""
    if argument is not None and option is not None:
        raise InputError(f"two recipes, {shown(argument)} and --recipe {shown(option)}: name one")
    return argument if option is None else option


def named_recipe(argument: str | None, option: str | None) -> str:
    """As `one_recipe`; InputError also if there is none."""
    recipe = one_recipe(argument, option)
    if recipe is None:
        raise InputError("no recipe: name a bundled one (`mixnet recipe list`) or a YAML file")
    return recipe


def print_json(data: object) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
