"""`mixnet check`: of this host, and with --hosts of all that are to train together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import typer

from mixnet_core.cli.options import (
    EPILOG,
    CheckedRunOption,
    CollectiveOption,
    HostOption,
    HostsOption,
    JsonOption,
    MasterOption,
    NamedRecipeArgument,
    NodeRankOption,
    RecipeOption,
    SetOption,
    named_recipe,
    one_recipe,
)
from mixnet_core.cli.outcome import print_json
from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.recipe.recipe import Recipe, load_recipe, stored_recipe
from mixnet_core.runs.records import default_name, existing_run
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.stages.check import check_all, require
from mixnet_core.stages.check_between import check_between
from mixnet_core.stages.check_host import check_host
from mixnet_core.stages.check_machine import check_packages, check_workspace
from mixnet_core.stages.check_meeting import Asked
from mixnet_core.stages.check_result import CheckResult
from mixnet_core.stages.on_record import OnRecord
from mixnet_core.stages.options import (
    DEFAULT_RECIPE,
    DataOption,
    RegistryOption,
    SingleWriterOption,
    WeightsOption,
    WorkspaceOption,
    adjusted_recipe,
    open_workspace,
    parse_settings,
    registry_uri,
)
from mixnet_core.stages.which_host import hosts_told, master_told, which_host
from mixnet_core.storage.uris import refuse_credentials


def add_to(app: typer.Typer) -> None:
    """Registers the subcommand."""
    app.command(epilog=EPILOG)(check)


@dataclass(frozen=True)
class _Work:
    """Holds what is checked.

    Attributes:
        recipe: None: the host alone.
        prepared: the dataset that stands for the recipe's source.
        host: whether this host is looked at.
    """

    workspace: Workspace
    registry: str
    recipe: Recipe | None
    prepared: PreparedDataset | None
    host: bool
    single_writer: bool

    def here(self) -> list[CheckResult]:
        """Returns what is found on this host."""
        results: list[CheckResult] = []
        if self.host:
            results += check_host(self.workspace, self.recipe, registry=self.registry)
        if self.recipe is not None:
            results += check_all(
                self.recipe,
                workspace=self.workspace,
                registry=self.registry,
                prepared=self.prepared,
                single_writer=self.single_writer,
            )
        elif not self.host:
            results += [check_packages(), check_workspace(self.workspace)]
        return results


def check(
    recipe: NamedRecipeArgument = None,
    recipe_option: RecipeOption = None,
    run: CheckedRunOption = None,
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    data: DataOption = None,
    weights: WeightsOption = None,
    single_writer: SingleWriterOption = False,
    set_: SetOption = None,
    host: HostOption = False,
    hosts: HostsOption = None,
    node_rank: NodeRankOption = None,
    master: MasterOption = None,
    collective: CollectiveOption = True,
    as_json: JsonOption = False,
) -> None:
    """Say before the work what would end it: packages, devices, disk, data, permissions.

    With --host: the host's versions, devices, limits, locks, ports, clock and Prefect server too.
    With --run: that run's recipe and the images that it has prepared. With --hosts, on each host,
    as `mixnet train`: each of them, versions, the shared folder, images, clocks and the links
    between them, and an all-reduce over all.
    """
    opened = open_workspace(workspace)
    refuse_credentials(master)
    uri = registry_uri(opened, registry)
    hosts = hosts_told(hosts, os.environ)
    several = (hosts or 1) > 1 or node_rank is not None or master is not None
    checked, prepared = None, None
    named = one_recipe(recipe, recipe_option)
    settings = parse_settings(set_ or [])
    if run is not None and named is None:
        if data or weights:
            raise InputError(
                f"--data and --weights would change the recipe of run {run}: name a recipe"
            )
        checked = _recipe_of(opened, run, hosts, settings)
    elif named or data or weights or set_ or not (host or several):
        checked = adjusted_recipe(
            named_recipe(recipe, recipe_option),
            data=data,
            weights=weights,
            registry=uri,
            hosts=hosts,
            settings=settings,
        )
    if checked is not None and (run is not None or several):
        prepared = _prepared(checked, opened, run)
    work = _Work(opened, uri, checked, prepared, host, single_writer)
    asked = None
    if several:
        asked = _asked(work, hosts, node_rank, master, collective=collective)
    if asked is None or asked.ranks.hosts == 1:
        _tell(work.here(), as_json=as_json)
    else:
        _tell(check_between(asked), as_json=as_json, in_short=not asked.ranks.leads)


def _recipe_of(
    workspace: Workspace, run: str, hosts: int | None, settings: dict[str, Any]
) -> Recipe:
    """Returns the recipe of a run that was begun, with what is set over it."""
    begun, kept = existing_run(workspace, run)
    if hosts is not None:
        settings = {"devices.hosts": hosts} | settings
    return stored_recipe(begun.recipe, settings) if settings else kept


def _prepared(recipe: Recipe, workspace: Workspace, run: str | None) -> PreparedDataset | None:
    """Returns the dataset that a run has on record; None where it has none yet.

    Args:
        run: None: the one that has the recipe's own name.
    """
    found: RunDir = workspace.run(run or default_name(recipe))
    if not found.record("prepare").is_file():
        return None
    if run is not None:
        return OnRecord(recipe, found).dataset()
    with suppress(InputError, IntegrityError):
        return OnRecord(recipe, found).dataset()
    return None


def _asked(
    work: _Work,
    hosts: int | None,
    node_rank: int | None,
    master: str | None,
    *,
    collective: bool,
) -> Asked:
    if work.recipe is not None:
        devices = work.recipe.devices
    else:
        more: dict[str, Any] = {"hosts": hosts or 1}
        devices = load_recipe(DEFAULT_RECIPE).devices.model_copy(update=more)
    ranks = which_host(devices, node_rank=node_rank, master=master, environment=os.environ)
    return Asked(
        ranks=ranks,
        workspace=work.workspace,
        recipe=work.recipe,
        prepared=work.prepared,
        checks=work.here,
        master=None if ranks.leads else master_told(master, os.environ),
        target=devices.target if collective else None,
        lost_seconds=devices.lost_seconds,
        say=lambda line: typer.echo(f"check: {line}", err=True),
    )


_MARKS = {"": "ok", "warning": "WARN", "unknown": "?", "absent": "-"}


def _tell(results: Sequence[CheckResult], *, as_json: bool, in_short: bool = False) -> None:
    """Prints the results and raises the first failure.

    Args:
        in_short: whether host 0 prints them in full.
    """
    if as_json:
        print_json({"checks": [result.model_dump(mode="json") for result in results]})
    elif not in_short:
        _print_checks(results)
    else:
        bad = [result.name for result in results if not result.ok]
        said = f"of which fail: {', '.join(bad)}" if bad else "none of which fails"
        mark = "FAIL" if bad else "ok"
        typer.echo(f"{mark:<4} {'hosts':<9} host 0 prints {len(results)} checks, {said}")
    require(result for result in results if not as_json or not result.ok)


def _print_checks(results: Sequence[CheckResult]) -> None:
    for result in results:
        mark = _MARKS[result.note] if result.ok else "FAIL"
        fix = f"; {result.fix}" if result.fix else ""
        typer.echo(f"{mark:<4} {result.name:<9} {result.detail}{fix}")
        for line in result.more:
            typer.echo(f"{'':<14} {line}")
