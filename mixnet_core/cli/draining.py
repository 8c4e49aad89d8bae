"""`mixnet drain`: has running trainings save and stop."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mixnet_core.cli.options import EPILOG, JsonOption
from mixnet_core.cli.outcome import print_json
from mixnet_core.errors import InputError, JobFailed
from mixnet_core.runs.markup import visible
from mixnet_core.stages.drain import drain
from mixnet_core.stages.options import WorkspaceOption, open_workspace


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command("drain", epilog=EPILOG)(_drain)


def _drain(
    names: Annotated[
        list[str] | None, typer.Argument(help="Runs, by name.", metavar="RUN...")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every training of the workspace.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have trainings on this machine end their step, save it and stop; wait until they have.

    For maintenance, a service's stop or a preemption. The same command, or deployment, goes on from
    there. Trainings may take their recipe's devices.grace_seconds; what has not saved a step by
    then is ended.
    """
    if bool(names) == everything:
        raise InputError("which runs? name them, or give --all")
    opened = open_workspace(workspace)

    def say(run: str) -> None:
        typer.echo(f"{visible(run)}: asked to save and stop", err=True)

    drained = drain(opened, None if everything else names, on_asked=say)
    if as_json:
        print_json({"drained": [asdict(run) for run in drained]})
    else:
        for run in drained:
            typer.echo(f"{visible(run.run)}: {visible(run.line)}")
        if not drained:
            typer.echo("nothing is at work")
    late = [run.run for run in drained if run.state == "runs"]
    if late:
        raise JobFailed(
            f"{visible(', '.join(late))} did not stop in time: SIGTERM to its command, twice, ends "
            "it at once",
            retryable=True,
        )
