"""`mixnet export`: a release's files for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mixnet_core.cli.options import EPILOG, JsonOption, QuietOption
from mixnet_core.cli.outcome import print_json
from mixnet_core.errors import InputError
from mixnet_core.exports.making import Wanted, format_names
from mixnet_core.exports.readme import plain_onnx
from mixnet_core.exports.snippet import NEEDS, snippet
from mixnet_core.recipe.choices import Export
from mixnet_core.recipe.kinds import FORMATS
from mixnet_core.runs.export_values import Exported, ExportProof, quantised_line
from mixnet_core.runs.terminal import TerminalWatch
from mixnet_core.stages.export_release import export_release, require_none_refused
from mixnet_core.stages.options import (
    DataOption,
    RegistryOption,
    WorkspaceOption,
    open_workspace,
    registry_uri,
)
from mixnet_core.storage.files import is_address
from mixnet_core.storage.uris import refuse_credentials, shown

_PIXELS = "_pixels"
_DEFAULTS = Export()


def export(
    release: Annotated[
        str,
        typer.Argument(
            help="A release's name or URI, an alias, a catalog entry, a run, or a file of weights.",
            metavar="RELEASE",
        ),
    ],
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="FORMAT",
            help=f"One of {', '.join(name.replace('_', '-') for name in FORMATS.names())}. "
            "Repeatable.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FOLDER", help="New, or an earlier export, replaced whole."),
    ],
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            help="ONNX and OpenVINO also in a form that takes the pixels, uint8 (N, S, S, C), and "
            "normalises by itself.",
        ),
    ] = False,
    unproven: Annotated[
        bool,
        typer.Option(
            "--unproven",
            help="Where the release's val images are not here: write files that were compared with "
            "nothing.",
        ),
    ] = False,
    int8_max_drop: Annotated[
        float,
        typer.Option(
            "--int8-max-drop",
            min=0,
            max=100,
            help="Percentage points of top-1 that eight bits may lose against float32.",
        ),
    ] = _DEFAULTS.int8_max_drop,
    calibration_images: Annotated[
        int,
        typer.Option(
            "--calibration-images",
            min=1,
            help="Training images that eight bits are calibrated on, at most.",
        ),
    ] = _DEFAULTS.calibration_images,
    data: DataOption = None,
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a release in other formats, each proven image by image against its predictions."""
    refuse_credentials(str(out))
    if is_address(out):
        raise InputError(
            f"--out {shown(str(out))} is an address, expected a folder here: export into one, and "
            "copy it there"
        )
    formats = format_names(to)
    if with_preprocessing:
        more = [f"{name}{_PIXELS}" for name in formats]
        formats = tuple(
            dict.fromkeys((*formats, *(name for name in more if name in FORMATS.names())))
        )
    opened = open_workspace(workspace)
    with TerminalWatch(quiet=quiet) as watch:
        exported = export_release(
            release,
            Wanted(formats, int8_max_drop, calibration_images),
            out.expanduser().absolute(),
            workspace=opened,
            registry=registry_uri(opened, registry),
            data=data,
            unproven=unproven,
            watch=watch,
        )
    if as_json:
        print_json({"exported": exported.model_dump(mode="json")})
    else:
        _print(exported)
    require_none_refused(exported)


def add_to(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(export)


def _print(exported: Exported) -> None:
    Console().print(_table(exported))
    for proof in exported.proofs:
        if proof.quantised is not None:
            typer.echo(f"{proof.format}: {quantised_line(proof)}")
    onnx = plain_onnx(exported.proofs)
    if onnx is not None:
        needs = f"{NEEDS} (of a binary PPM; pillow too for all else)"
        typer.echo(f"\n# classify.py PICTURE, after {needs}\n{snippet(onnx)}", nl=False)


def _table(exported: Exported) -> Table:
    table = Table(title=exported.folder)
    for name in ("format", "state"):
        table.add_column(name)
    for name in ("images", "other top-1", "largest difference", "img/s"):
        table.add_column(name, justify="right")
    table.add_column("by")
    for proof in exported.proofs:
        table.add_row(*(Text(cell) for cell in _cells(proof)))
    return table


def _cells(proof: ExportProof) -> tuple[str, ...]:
    name = proof.format.replace("_", "-")
    if proof.largest_difference is None or proof.images_per_second is None:
        return (name, proof.state, "", "", "", "", proof.runtime)
    return (
        name,
        proof.state,
        f"{proof.images:,}",
        f"{proof.differing:,}",
        f"{proof.largest_difference:.2g}",
        f"{proof.images_per_second:,.0f}",
        proof.runtime,
    )
