"""Checks of a host before a run of days is put on it; a recipe may say what it has to be good for.

Nothing here imports MindSpore. The traces are those of `stages.check`, and small files in the
workspace that are removed again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mixnet_core.host import prefect_server
from mixnet_core.host.installed import read_installed
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages import check_ascend, check_resources, check_services, check_versions
from mixnet_core.stages.check_machine import check_packages, check_workspace
from mixnet_core.stages.check_result import CheckResult


@dataclass(frozen=True)
class Asked:
    """Holds what a host has to be good for.

    Attributes:
        target: as devices.target; None: whatever is there.
        ranks: as devices.ranks.
    """

    target: str | None = None
    ranks: int = 1


def asked_by(recipe: Recipe | None) -> Asked:
    """Returns what a recipe asks of a host."""
    if recipe is None:
        return Asked()
    return Asked(target=recipe.devices.target, ranks=recipe.devices.ranks)


def check_host(
    workspace: Workspace,
    recipe: Recipe | None = None,
    *,
    registry: str | None = None,
    root: Path = Path("/"),
    dev: Path = Path("/dev"),
    environment: Mapping[str, str] = os.environ,
) -> list[CheckResult]:
    """Runs every check of the host; what they find is returned, not raised.

    Args:
        recipe: decides how many devices, cores and how much memory there must be. Without one, and
            without a driver here, nothing is demanded of Ascend.
        registry: URI of a store whose clock is compared with; None: there is none.
        root: of the file system that driver, firmware and CANN are in.
        dev: where device files stand.
        environment: of this process.
    """
    asked = asked_by(recipe)
    chips, devices = check_ascend.check_devices(
        asked.target, asked.ranks, dev=dev, environment=environment
    )
    installed = read_installed(root, environment)
    ascends = [
        check_versions.check_driver(installed, chips),
        check_versions.check_cann(installed, asked.target),
        check_versions.check_set(installed, asked.target),
        devices,
        check_ascend.check_links(chips),
    ]
    if asked.target not in (None, check_ascend.TARGET):
        ascends = [_ends_none(result) for result in ascends]
    address = prefect_server.find_address(environment)
    server = prefect_server.ask_server(address) if address else None
    return [
        check_resources.check_python(),
        # With a recipe, `check_all` has them.
        *([] if recipe else [check_packages(), check_workspace(workspace)]),
        check_resources.check_locks(workspace),
        check_resources.check_room(workspace, environment),
        check_resources.check_shared_memory(asked.ranks),
        check_resources.check_memory(asked.ranks),
        check_resources.check_files(),
        check_resources.check_processes(asked.ranks),
        check_resources.check_cores(asked.ranks, chips.all),
        *ascends,
        check_services.check_ports(chips, environment),
        check_services.check_prefect(address, server),
        check_services.check_clock(address, server, registry),
    ]


def _ends_none(result: CheckResult) -> CheckResult:
    """Makes a warning of a failure: a run that uses no Ascend goes on beside an ill one."""
    return result if result.ok else result.model_copy(update={"ok": True, "note": "warning"})
