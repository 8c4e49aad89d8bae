"""What one of several hosts says of itself, so that they can be compared."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from mixnet_core.data.index import open_prepared
from mixnet_core.data.looking import found_images
from mixnet_core.errors import IntegrityError, MixnetError
from mixnet_core.host.file_system import mount_of
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.values import PreparedDataset, Value
from mixnet_core.stages import check_ascend, check_services
from mixnet_core.stages.check_host import asked_by
from mixnet_core.stages.check_result import CheckResult

# What is computed with, besides Python.
_CODE = ("*.py", "*.cpp", "*.h", "*.yaml", "*.csv")
_SHOWN_DIGITS = 8


class Images(Value):
    """Says what images a host has.

    Attributes:
        line: in words.
        digest: hex; equal where they are. None: nothing says it without reading them all.
        prepared: whether it is a prepared dataset's fingerprint; else it is of names, sizes and
            times of change.
        error: why there is none of this, in a line; and the class in `errors` of it.
    """

    line: str
    digest: str | None = None
    prepared: bool = False
    error: str = ""
    error_type: str = ""


class Facts(Value):
    """Holds what has to be the same on all hosts, and what each found by itself.

    Attributes:
        versions: name -> version; a run needs the same on all.
        system: name -> what it is; said where it differs.
        workspace: path of the workspace, as this host knows it.
        file_system: of it.
        images: None: no recipe was named.
        checks: what `mixnet check` finds there.
    """

    versions: dict[str, str]
    system: dict[str, str]
    workspace: str
    file_system: str
    images: Images | None
    checks: tuple[CheckResult, ...]


def facts_here(
    workspace: Workspace,
    recipe: Recipe | None,
    prepared: PreparedDataset | None,
    checks: Callable[[], Sequence[CheckResult]],
) -> Facts:
    """Returns this host's.

    Args:
        prepared: the dataset that is looked at instead of the recipe's source.
        checks: finds what `mixnet check` finds.
    """
    found = list(checks())
    if not any(result.name == "ports" for result in found):
        found.append(_ports(recipe))
    return Facts(
        versions=_versions(),
        system=_system(),
        workspace=str(workspace.root),
        file_system=file_system_of(workspace),
        images=None if recipe is None else _images(workspace, recipe, prepared),
        checks=tuple(found),
    )


def file_system_of(workspace: Workspace) -> str:
    """Names the file system that a workspace is on, as in "nfs4"."""
    mount = mount_of(workspace.root)
    return mount.kind if mount else "an unknown file system"


def _ports(recipe: Recipe | None) -> CheckResult:
    asked = asked_by(recipe)
    chips, _ = check_ascend.check_devices(
        asked.target, asked.ranks, dev=Path("/dev"), environment=os.environ
    )
    return check_services.check_ports(chips, os.environ)


def _versions() -> dict[str, str]:
    own = metadata.version("mindspore-mixnet")
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "mindspore": _version("mindspore"),
        "numpy": _version("numpy"),
        # Checkouts of different days have one version.
        "mixnet": f"{own} ({_digest_of_code()[:_SHOWN_DIGITS]})",
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _digest_of_code() -> str:
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(found for pattern in _CODE for found in root.rglob(pattern)):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _system() -> dict[str, str]:
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        distribution = ""
    return {
        "machine": platform.machine(),
        "system": distribution or platform.system(),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
    }


def _images(workspace: Workspace, recipe: Recipe, prepared: PreparedDataset | None) -> Images:
    try:
        if prepared is None:
            found = found_images(recipe.data, workspace.datasets)
            return Images(line=found.line, digest=found.digest)
        # Every image has to be here with its size: only the indexes are in the workspace.
        here = open_prepared(Path(prepared.root))
        if here.fingerprint != prepared.fingerprint:
            raise IntegrityError(f"{prepared.root} is not the dataset that the run is on")
    except MixnetError as error:
        return Images(line="", error=str(error), error_type=type(error).__name__)
    counts = ", ".join(f"{count:,} {split}" for split, count in here.counts.items())
    line = f"{len(here.classes):,} classes, {counts} images in {here.root}"
    return Images(line=line, digest=here.fingerprint, prepared=True)
