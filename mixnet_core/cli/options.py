"""The options that only the command line has; those that flows have too: `stages.options`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from mixnet_core.data.hamming import MOST_BITS
from mixnet_core.errors import EXIT_CODES, InputError
from mixnet_core.model.variants import FlavourName
from mixnet_core.stages.options import DEFAULT_RECIPE
from mixnet_core.storage.uris import shown

EPILOG = f"Exit codes: {'; '.join(f'{code} {text}' for code, text in EXIT_CODES.items())}."

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
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any key of the recipe, as in training.seed=7. Repeatable.",
    ),
]
FlavourOption = Annotated[
    FlavourName | None,
    typer.Option(
        "--flavour",
        help="Whose conventions the weights follow: mindcv; timm; tf for timm's tf_mixnet, "
        "TensorFlow's weights. Default: what is known of the file.",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Results as one JSON object on standard output.")
]
HostOption = Annotated[
    bool,
    typer.Option("--host", help="Look at this host too; works without a recipe."),
]
NearDuplicatesOption = Annotated[
    int | None,
    typer.Option(
        "--near-duplicates",
        help="Count and list images that look alike too: their hashes differ in at most so many "
        f"of 64 bits, 0 to {MOST_BITS}; 4 finds what was saved again. Decodes each image once more "
        "(package imagehash).",
        metavar="BITS",
        min=0,
        max=MOST_BITS,
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to",
        help="Write the shards there too: a folder, file:///PATH or s3://BUCKET/PREFIX, which "
        "another host names as its --data. Needs data.layout mindrecord.",
        metavar="URI",
    ),
]
SignWithOption = Annotated[
    str | None,
    typer.Option(
        "--sign-with",
        help="Sign the release with this private key in PEM (package model-signing). Default: "
        "$MIXNET_SIGN_KEY, else it is not signed.",
        metavar="KEY",
    ),
]
HostsOption = Annotated[
    int | None,
    typer.Option(
        "--hosts",
        help="Machines that work together, each with the recipe's ranks; this command runs on "
        "each. Default: to train $MIXNET_HOSTS, a Slurm step's nodes, else devices.hosts; to "
        "measure this one alone.",
        metavar="N",
        min=1,
    ),
]
NodeRankOption = Annotated[
    int | None,
    typer.Option(
        "--node-rank",
        help="Which of them this one is, from 0; host 0 leads. Default: $MIXNET_NODE_RANK, "
        "$SLURM_NODEID, $JOB_COMPLETION_INDEX.",
        metavar="I",
        min=0,
    ),
]
MasterOption = Annotated[
    str | None,
    typer.Option(
        "--master",
        help="Host 0's address in the hosts' network; without a port it takes a free one. Default: "
        "$MIXNET_MASTER, else the first of Slurm's nodes.",
        metavar="ADDRESS[:PORT]",
    ),
]
CheckedRunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        help="The run whose recipe and prepared images are looked at.",
        metavar="NAME",
    ),
]
CollectiveOption = Annotated[
    bool,
    typer.Option(
        "--collective/--no-collective",
        help="With --hosts: make an all-reduce of 16.5 MB over all hosts, for which MindSpore "
        "starts on each.",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuses an empty argument, as an unset shell variable leaves: it asks for nothing.

    Raises:
        InputError: one is empty, or an option's value is; one is no text.
    """
    for number, argument in enumerate(arguments, start=1):
        option, separator, value = argument.partition("=")
        if argument == "" or (option.startswith("--") and separator and value == ""):
            what = option if separator else f"argument {number}"
            raise InputError(f"{what} is empty: give it a value, or leave it out")
        # What the shell passed on as bytes, which neither records nor pages can hold.
        if any(0xDC80 <= ord(letter) <= 0xDCFF for letter in argument):
            raise InputError(f"argument {number} is no text in UTF-8: rename what it names")


def one_recipe(argument: str | None, option: str | None) -> str | None:
    """Takes RECIPE or --recipe.

    Raises:
        InputError: both are given.
    """
    if argument is not None and option is not None:
        raise InputError(f"two recipes, {shown(argument)} and --recipe {shown(option)}: name one")
    return argument if option is None else option


def named_recipe(argument: str | None, option: str | None) -> str:
    """Takes RECIPE or --recipe, one of which has to be there.

    Raises:
        InputError: both are given, or none is.
    """
    recipe = one_recipe(argument, option)
    if recipe is None:
        raise InputError("no recipe: name a bundled one (`mixnet recipe list`) or a YAML file")
    return recipe
