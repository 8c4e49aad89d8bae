"""`mixnet deployments`: the file of deployments, which the package carries, into a folder."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from mixnet_core.cli.options import EPILOG
from mixnet_core.errors import InputError, MachineError
from mixnet_core.storage.files import os_errors_explained, write_text
from mixnet_core.storage.uris import refuse_credentials, shown

FILE = "prefect.yaml"
# By name only: the command line does not import flows, and works without Prefect.
_FLOWS = "mixnet_flows"
NEXT = (f"python -m {_FLOWS}.infra.setup", "prefect --no-prompt deploy --all")


def write_deployments(folder: Path) -> Path:
    """Writes prefect.yaml into a folder, which is made; the same one is let be.

    Returns:
        The file's absolute path.

    Raises:
        InputError: another prefect.yaml is there.
        MachineError: the folder cannot be written; the package of flows is not installed.
    """
    refuse_credentials(str(folder))
    target = folder.expanduser().absolute() / FILE
    text = _packaged()
    if _there(target) == text.encode():
        return target
    if target.exists():
        raise InputError(
            f"{shown(str(target))} is there and differs from this version's: "
            "move it away, or name another folder"
        )
    write_text(target, text)
    return target


def _packaged() -> str:
    try:
        return resources.files(_FLOWS).joinpath(FILE).read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise MachineError(
            f"{_FLOWS} with its {FILE} is not installed: install mindspore-mixnet again"
        ) from error


def _there(file: Path) -> bytes | None:
    with os_errors_explained(shown(str(file)), "read"):
        return file.read_bytes() if file.is_file() else None


def deployments(
    folder: Annotated[
        Path, typer.Argument(help="Where runs are to start; made if need be.", metavar="DIR")
    ],
) -> None:
    """Write prefect.yaml, as `prefect deploy` reads it, into a folder; say what comes next.

    The two commands that it prints are for that folder, with PREFECT_API_URL set: one sets up work
    pool, limit and automation, one deploys. Runs start in that folder, the workspace is below it.
    """
    target = write_deployments(folder)
    typer.echo(f"{target} is there; next, in its folder, with PREFECT_API_URL set:")
    for command in NEXT:
        typer.echo(f"  {command}")


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command(epilog=EPILOG)(deployments)
