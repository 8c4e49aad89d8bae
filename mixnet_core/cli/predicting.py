"""`mixnet predict`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from mixnet_core.cli.options import EPILOG, JsonOption, QuietOption, RecipeOption, SetOption
from mixnet_core.cli.prediction_output import (
    STANDARD_OUTPUT,
    CsvRows,
    JsonRows,
    Rows,
    TableRows,
)
from mixnet_core.data.account import Tally
from mixnet_core.data.named_pictures import LIST, NamedPicture, listed_paths, named_pictures
from mixnet_core.errors import DatasetError, InputError
from mixnet_core.evaluate.job import BATCH
from mixnet_core.evaluate.predict_job import STAGE, Predicted, predict_pictures
from mixnet_core.runs.terminal import TerminalWatch
from mixnet_core.stages.named_weights import find_released
from mixnet_core.stages.options import (
    RegistryOption,
    WorkspaceOption,
    open_workspace,
    parse_settings,
    registry_uri,
)
from mixnet_core.storage.files import expect_targets
from mixnet_core.storage.uris import refuse_credentials, shown


def predict(
    release: Annotated[
        str,
        typer.Argument(
            help="Name or URI of a release, a copied release's folder, a run's name or folder, or "
            "a file .ckpt, .safetensors or .onnx.",
            metavar="RELEASE",
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            help="Pictures: files, folders with all below them, patterns in quotes, or - for a "
            "list of paths on standard input. What is named twice is predicted twice.",
            metavar="IMAGE...",
        ),
    ],
    top: Annotated[
        int, typer.Option("--top", min=1, help="Classes told of each picture, at most.")
    ] = 5,
    csv: Annotated[
        str | None,
        typer.Option(
            "--csv",
            help="Write a row per picture here instead of a table; - prints it.",
            metavar="FILE",
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            help="Write the features before the classifier here, .npy (N, F) float32: a row per "
            "picture that could be read, in their order.",
            metavar="FILE",
        ),
    ] = None,
    null: Annotated[
        bool,
        typer.Option("--null", "-0", help="Paths on standard input end in zero bytes, not lines."),
    ] = False,
    batch: Annotated[
        int, typer.Option("--batch", min=1, help="Images at once; changes no prediction.")
    ] = BATCH,
    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            help="Class names, one a line in label order, for a file that names none.",
            metavar="FILE",
        ),
    ] = None,
    ema: Annotated[
        bool, typer.Option("--ema", help="Take the moving averages that a file holds.")
    ] = False,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what is on pictures: the most probable classes of each.

    They are read as evaluation reads the release's own. A picture that cannot be read has a line
    that says why; the exit code is 0 if at least one could be.
    """
    _expect_one(csv, images, as_json=as_json)
    target = None if csv in (None, STANDARD_OUTPUT) else Path(str(csv)).expanduser()
    features = features and features.expanduser()
    refuse_credentials(csv, str(features), str(classes), *images)
    read = (Path(name).expanduser() for name in (release, recipe) if name)
    expect_targets((target, features), kept=(classes, *read))
    opened = open_workspace(workspace)
    tally = Tally(Path())
    listed = listed_paths(sys.stdin.buffer, null=null)
    with ExitStack() as stack:
        rows = stack.enter_context(_rows(csv, target, top, as_json=as_json))

        def expect(count: int) -> None:
            rows.expect(count)
            if not count and (said := tally.account().sentence):
                raise DatasetError(
                    f"no pictures in what was named ({said}): give files, or folders with pictures"
                )

        watch = stack.enter_context(TerminalWatch(quiet=quiet))
        released = find_released(
            release,
            workspace=opened,
            registry=registry_uri(opened, registry),
            recipe=recipe,
            settings=parse_settings(set_ or []),
            classes=classes,
            ema=ema,
            stage=STAGE,
            watch=watch,
        )
        rows.of(released)
        found = predict_pictures(
            released.recipe,
            released.weights,
            released.num_classes,
            _kept(named_pictures(images, tally, listed), target, features),
            folder=opened.root / "predictions",
            each=rows,
            classes=released.classes,
            ema=released.ema,
            top=top,
            batch=batch,
            features=features,
            expect=expect,
            watch=watch,
        )
        account = tally.account()
        watch.finished(STAGE, _summary(found))
        for line in account.in_short:
            watch.line(STAGE, line)
        if released.left_out:
            watch.line(STAGE, f"{released.name}: {released.left_out}")
        rows.end(found, account)


def add_to(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(predict)


def _expect_one(csv: str | None, images: list[str], *, as_json: bool) -> None:
    if as_json and csv == STANDARD_OUTPUT:
        raise InputError("--json and --csv - both print: give --csv a file, or leave one out")
    if images.count(LIST) > 1:
        raise InputError("- is named twice, and standard input is read once: leave one out")


def _kept(pictures: Iterable[NamedPicture], *targets: Path | None) -> Iterator[NamedPicture]:
    """Yields pictures, of which none is the file that is written.

    Raises:
        InputError: one is.
    """
    written = {os.path.realpath(path): path.name for path in targets if path is not None}
    names = set(written.values())
    for picture in pictures:
        # By its name first: there may be a million of them.
        path = picture.path
        if os.path.basename(path) in names and os.path.realpath(path) in written:  # noqa: PTH119
            raise InputError(
                f"{shown(path)} is a picture to predict, and would be written over: give --csv and "
                "--features files of their own"
            )
        yield picture


def _rows(csv: str | None, target: Path | None, top: int, *, as_json: bool) -> Rows:
    if csv is not None:
        return CsvRows(target, top, JsonRows(limited=False) if as_json else None)
    return JsonRows() if as_json else TableRows()


def _summary(found: Predicted) -> str:
    said = f"{found.predicted:,} pictures predicted, {found.images_per_second:.0f} img/s"
    if found.unreadable:
        said += f"; {found.unreadable:,} cannot be read, the first is {found.first_unreadable}"
    return said
