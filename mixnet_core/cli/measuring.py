"""`mixnet evaluate` and `mixnet revalidate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mixnet_core.cli.options import (
    EPILOG,
    FlavourOption,
    JsonOption,
    QuietOption,
    RecipeOption,
    SetOption,
)
from mixnet_core.cli.outcome import print_json
from mixnet_core.evaluate.job import BATCH
from mixnet_core.evaluate.statistics import wilson_interval
from mixnet_core.revalidation.all_releases import revalidate_all
from mixnet_core.revalidation.release import STAGE
from mixnet_core.revalidation.states import Revalidation, percent, require_all_confirmed
from mixnet_core.revalidation.weights_file import evaluate_file, images_of, seen_before
from mixnet_core.runs.summaries import summary
from mixnet_core.runs.terminal import TerminalWatch
from mixnet_core.runs.values import Evaluation
from mixnet_core.stages.options import (
    DataOption,
    RegistryOption,
    WorkspaceOption,
    open_workspace,
    parse_settings,
    registry_uri,
)


def evaluate(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A file .ckpt, .safetensors or .pth under MindCV's names or timm's, or .onnx; one "
            "that a training wrote too. Or a name of the catalog.",
            metavar="CHECKPOINT",
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data", help="Folder with val/, or with what val/ would hold: a folder a class."
        ),
    ],
    recipe: RecipeOption = None,
    workspace: WorkspaceOption = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes that share them. Default: 1 on CPU."),
    ] = None,
    batch: Annotated[
        int, typer.Option("--batch", min=1, help="Images at once; changes no figure.")
    ] = BATCH,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write an HTML page here.", metavar="FILE")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            "--answers",
            help="Write the prediction for each image here, CSV.",
            metavar="FILE",
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            help="The weights' class names, one a line in label order. Default: their release's or "
            "run's.",
            metavar="FILE",
        ),
    ] = None,
    ema: Annotated[
        bool,
        typer.Option(
            "--ema", help="Measure the moving averages that the file holds beside the weights."
        ),
    ] = False,
    flavour: FlavourOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure any checkpoint on a folder of images; no recipe and no run is needed.

    In the folder of a release or of a run their recipe says how images are read. Else the variant
    shows in the file, and the flavour is what the catalog, a config.json beside it, the file or its
    name say; else that of its names, MindCV's or timm's.
    """
    opened = open_workspace(workspace)
    with TerminalWatch(quiet=quiet) as watch:
        found = evaluate_file(
            checkpoint.expanduser(),
            workspace=opened,
            data=data,
            recipe=recipe,
            settings=({"network.flavour": flavour} if flavour else {}) | parse_settings(set_ or []),
            classes=classes,
            workers=workers,
            batch=batch,
            predictions=predictions,
            page=report,
            ema=ema,
            watch=watch,
        )
    if as_json:
        print_json({"evaluation": found.model_dump(mode="json")})
    else:
        Console().print(_table(found))
        if found.left_out:
            # Below the table: in it a line of words is cut into many.
            typer.echo(f"{Path(found.file).name}: {found.left_out}")


def revalidate(
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    data: DataOption = None,
    imagenet: Annotated[
        str | None,
        typer.Option("--imagenet", help="Folder of ImageNet: the catalog's releases too."),
    ] = None,
    retired: Annotated[
        list[str] | None,
        typer.Option("--retired", help="Name of a release that was deleted on purpose."),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance", help="Share of images by which top-1 may differ.", min=0, max=1
        ),
    ] = 0.001,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure every release again; fail naming those that are not what they claim to be."""
    opened = open_workspace(workspace)
    with TerminalWatch(quiet=quiet) as watch:

        def each(result: Revalidation) -> None:
            watch.finished(STAGE, summary(result))

        results = revalidate_all(
            registry_uri(opened, registry),
            workspace=opened,
            data=data,
            imagenet=imagenet,
            retired=retired or (),
            tolerance=tolerance,
            each=each,
            watch=watch,
        )
    if as_json:
        print_json({"revalidations": [result.model_dump(mode="json") for result in results]})
    require_all_confirmed(results)


def add_to(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(evaluate)
    app.command(epilog=EPILOG)(revalidate)


def _table(found: Evaluation) -> Table:
    table = Table(title=f"{Path(found.file).name}, sha256 {found.sha256[:12]}")
    score = found.score
    table.add_column("")
    table.add_column("measured", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("claimed", justify="right")
    rows = (
        ("top-1", score.top1, found.top1_interval),
        ("top-5", score.top5, found.top5_interval),
    )
    unseen = found.unseen
    for name, share, (low, high) in rows:
        claimed = found.claims.get(name)
        said = "" if claimed is None else percent(claimed)
        if claimed is not None and claimed > high:
            said += ", not supported"
        table.add_row(name, percent(share), f"{percent(low)} to {percent(high)}", said)
        if unseen is not None and name == "top-1":
            low, high = wilson_interval(unseen.correct1, unseen.count)
            interval = f"{percent(low)} to {percent(high)}"
            table.add_row(f"  on the {unseen.count:,} not seen", percent(unseen.top1), interval, "")
    table.add_row("loss", f"{score.loss:.4f}")
    table.add_row("calibration error", percent(found.calibration_error))
    table.add_row("images", f"{score.count:,}")
    table.add_row("seen before", "not known" if found.seen is None else f"{found.seen:,}")
    table.add_row("img/s", f"{found.images_per_second:.0f}")
    where = f"{images_of(found)}: {seen_before(found)}\nlabels {found.labels}"
    table.caption = f"{where}\n{found.read_as}\n{found.engine}"
    return table
