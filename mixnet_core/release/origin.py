"""The origin of a file of weights: a release or a run, whose recipe says how to read images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mixnet_core.errors import IntegrityError
from mixnet_core.release.manifest import MANIFEST, WEIGHTS, PublishedRelease, parse_manifest
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.storage.files import os_errors_explained


@dataclass(frozen=True)
class Origin:
    """Describes what lies around a file of weights.

    Attributes:
        name: for people.
        recipe: the file that says how its images are read.
        release: None for a file of a run.
    """

    name: str
    recipe: Path
    release: PublishedRelease | None = None


def origin_of(file: Path, sha256: str) -> Origin | None:
    """Finds the release or the run that a file lies in.

    Args:
        sha256: hex, of the file.

    Returns:
        None where it lies neither in a release's folder nor among a run's checkpoints or means.

    Raises:
        IntegrityError: the manifest beside it cannot be read, or states another digest.
        MachineError: the manifest cannot be read from disk.
    """
    file = file.resolve()
    return _release(file, sha256) or _run(file)


def _release(file: Path, sha256: str) -> Origin | None:
    manifest = file.parent / MANIFEST
    if not file.name.startswith(f"{WEIGHTS}-") or not manifest.is_file():
        return None
    with os_errors_explained(manifest, "read"):
        release = parse_manifest(manifest.read_bytes(), str(file.parent))
    stated = release.files[WEIGHTS]
    recipe = release.files.get("recipe")
    if stated.name != file.name or recipe is None or not (file.parent / recipe.name).is_file():
        return None
    if stated.sha256 != sha256:
        raise IntegrityError(
            f"{file} has the sha256 {sha256[:12]}, its {MANIFEST} states {stated.sha256[:12]}: "
            "it is not what was published; fetch it again"
        )
    return Origin(f"release {release.name}", file.parent / recipe.name, release)


def _run(file: Path) -> Origin | None:
    for folder in file.parents:
        run = RunDir(folder)
        if run.recipe.is_file() and {run.checkpoints, run.means} & set(file.parents):
            return Origin(f"run {run.name}", run.recipe)
    return None
