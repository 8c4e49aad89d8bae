"""`mixnet prepare imagenet`: ILSVRC2012's archives into an image folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mixnet_core.cli.options import EPILOG, JsonOption, QuietOption
from mixnet_core.cli.outcome import print_json
from mixnet_core.data.imagenet.inputs import Archives
from mixnet_core.data.imagenet.progress import STAGE
from mixnet_core.data.imagenet.unpack import unpack_imagenet
from mixnet_core.errors import InputError
from mixnet_core.runs.summaries import summary
from mixnet_core.runs.terminal import TerminalWatch
from mixnet_core.stages.options import WorkspaceOption, open_workspace

NAME = "prepare imagenet"

_HELP = """Unpack ImageNet's archives into an image folder, checked; started again, it goes on.

Every image is read once: decoded, hashed, and written byte for byte into train/WNID/ or val/WNID/.
The archives' md5, their classes and counts have to be the published ones. Beside the images:
imagenet.json, train.csv, val.csv (size, sha256, pixels, what is unusual) and report.md."""


class TwoWordCommands(TyperGroup):
    """Commands whose names are two words; another second word goes to the command of one word."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = " ".join(args[:2])
        if len(args) > 1 and name in self.commands:
            return name, self.commands[name], args[2:]
        return super().resolve_command(ctx, args)


def _file(name: str, text: str) -> Any:
    return typer.Option(name, help=text, metavar="FILE")


def prepare_imagenet(
    train_tar: Annotated[
        Path | None, _file("--train-tar", "ILSVRC2012_img_train.tar. Without it: val only.")
    ] = None,
    val_tar: Annotated[
        Path | None, _file("--val-tar", "ILSVRC2012_img_val.tar. Without it: train only.")
    ] = None,
    devkit: Annotated[
        Path | None, _file("--devkit", "ILSVRC2012_devkit_t12.tar.gz: val's labels.")
    ] = None,
    val_labels: Annotated[
        Path | None,
        _file(
            "--val-labels",
            "Instead of --devkit: lines `name,wnid`, or a wnid a line in the order of the names.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Where to. Default: imagenet/ in the workspace.", metavar="DIR"),
    ] = None,
    workspace: WorkspaceOption = None,
    subset: Annotated[
        bool,
        typer.Option(
            "--subset",
            help="The archives hold a part of ImageNet: published counts, classes and md5 are not "
            "demanded. Labels stay those of the 1,000 classes.",
        ),
    ] = False,
    md5sums: Annotated[
        Path | None,
        _file("--md5sums", "The archives' digests, as md5sum writes them, for the published ones."),
    ] = None,
    max_unusable: Annotated[
        int,
        typer.Option(
            "--max-unusable", help="Images that may be left out as they do not decode.", min=0
        ),
    ] = 0,
    no_decode: Annotated[
        bool,
        typer.Option(
            "--no-decode", help="Read the images' headers only: faster, finds no cut images."
        ),
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    if to is not None and workspace is not None:
        raise InputError("--workspace says nothing beside --to: leave one out")
    target = to.expanduser() if to else open_workspace(workspace).imagenet
    archives = Archives(train_tar, val_tar, devkit, val_labels, md5sums, subset)
    with TerminalWatch(quiet=quiet) as watch:
        unpacked = unpack_imagenet(
            archives, target, max_unusable=max_unusable, decode=not no_decode, watch=watch
        )
        watch.finished(STAGE, summary(unpacked))
    if as_json:
        print_json({"imagenet": unpacked.model_dump(mode="json")})


def add_to(app: typer.Typer) -> None:
    """Registers the command; the app's class has to be TwoWordCommands."""
    app.command(NAME, help=_HELP, epilog=EPILOG)(prepare_imagenet)
