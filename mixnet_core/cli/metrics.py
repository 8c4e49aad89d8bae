"""`mixnet metrics`: the figures of all runs of a workspace, as Prometheus reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mixnet_core.cli.options import EPILOG
from mixnet_core.stages.options import WorkspaceOption, open_workspace
from mixnet_core.stages.scraped import scraped
from mixnet_core.storage.files import expect_writable, write_text
from mixnet_core.train.prometheus import prometheus_text


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command("metrics", epilog=EPILOG)(metrics)


def metrics(
    workspace: WorkspaceOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="File to write, whole or not at all, instead of standard output: "
            "FOLDER/mixnet.prom of the node exporter's textfile collector.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Print the newest figures of all runs as Prometheus reads them."""
    opened = open_workspace(workspace)
    if out is not None:
        expect_writable(out)
    text = prometheus_text(scraped(opened))
    if out is not None:
        write_text(out, text)
    else:
        typer.echo(text, nl=False)
