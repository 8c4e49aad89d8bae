"""`mixnet import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mixnet_core.cli.options import EPILOG, FlavourOption, JsonOption, QuietOption
from mixnet_core.cli.outcome import print_json
from mixnet_core.errors import InputError
from mixnet_core.release.card_import import import_card
from mixnet_core.release.importing import Imported, import_weights
from mixnet_core.runs.markup import visible
from mixnet_core.runs.terminal import TerminalWatch
from mixnet_core.runs.ticks import Tick
from mixnet_core.storage.uris import refuse_credentials, shown

STAGE = "import"


def import_(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A file of MindCV's (.ckpt), of safetensors or of PyTorch (.pth, .pt, .bin), a "
            "copied release's folder, or an https:// or s3:// URL.",
            metavar="FILE|URL",
        ),
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(
            "--card",
            help="A card instead: what it names and claims becomes an entry, nothing is fetched.",
            metavar="FILE",
        ),
    ] = None,
    flavour: FlavourOption = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="What finds it from now on. Default: made from the file's."),
    ] = None,
    ema: Annotated[
        bool,
        typer.Option("--ema", help="Take the moving averages that the file holds."),
    ] = False,
    sha256: Annotated[
        str | None,
        typer.Option(
            "--sha256", help="What the file has to be, 8 digits or all 64.", metavar="HEX"
        ),
    ] = None,
    stem_stride: Annotated[
        int | None,
        typer.Option(
            "--stem-stride", help="1 for networks of small images. Default: 2.", min=1, max=2
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="How its images are read: for weights of other classes than ImageNet's.",
            metavar="RECIPE",
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check weights of another origin and give them a name for --weights and evaluate.

    Names and shapes have to be those of a MixNet, MindCV's or timm's; no pickle is run. The copy is
    kept under MindCV's names in the user's cache, its entry in the user's catalog.
    """
    if card is not None:
        _import_card(card, source, name, as_json=as_json)
        return
    if source is None:
        raise InputError("nothing to import: give FILE|URL, or a card with --card FILE")
    with TerminalWatch(quiet=quiet) as watch:
        found = import_weights(
            source,
            flavour=flavour,
            name=name,
            ema=ema,
            sha256=sha256,
            stem_stride=1 if stem_stride == 1 else 2 if stem_stride == 2 else None,
            recipe=recipe,
            on_bytes=lambda done, total: watch(Tick(STAGE, done, total, "B")),
        )
    if as_json:
        print_json({"imported": found.model_dump(mode="json")})
        return
    for line in _lines(found, pinned=sha256 is None and "://" in source):
        typer.echo(line)


def _import_card(card: Path, source: str | None, name: str | None, *, as_json: bool) -> None:
    if source is not None:
        raise InputError(f"{shown(source)} and --card {shown(str(card))}: import one of them")
    refuse_credentials(str(card), name)
    found = import_card(card, name=name)
    if as_json:
        entries = [entry.model_dump(mode="json") for entry in found.entries]
        print_json({"entries": entries, "added": found.added, "catalog": str(found.catalog)})
        return
    for line in found.lines:
        # A card is somebody else's.
        typer.echo(visible(line))


def _lines(found: Imported, *, pinned: bool) -> list[str]:
    again = ", as it was already" if found.reused else ""
    lines = [
        f"{found.name}: MixNet-{found.variant.upper()}, flavour {found.flavour}, "
        f"{found.num_classes:,} classes{again}",
        f"flavour: {found.flavour_from}",
    ]
    if found.left_out:
        lines.append(found.left_out)
    if pinned:
        lines.append(
            f"no --sha256 was given, so the file is taken as it came: sha256 {found.source_sha256}"
        )
    return [*lines, f"copy {found.path}", f"entry in {found.catalog}"]


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command("import", epilog=EPILOG)(import_)
