"""The origin of a file of weights: a release or a run, whose recipe says how to read images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.release.manifest import (
    MANIFEST,
    WEIGHTS,
    PublishedRelease,
    ReleasedFile,
    parse_manifest,
)
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.storage.files import os_errors_explained, sha256_of
from mixnet_core.storage.uris import shown


@dataclass(frozen=True)
class Origin:
    """Describes what lies around a file of weights.

    Attributes:
        name: for people.
        recipe: the file that says how its images are read; None where a release's is not beside
            it.
        release: None for a file of a run.
    """

    name: str
    recipe: Path | None
    release: PublishedRelease | None = None

    def required_recipe(self, file: Path) -> Path:
        """Returns the recipe's file.

        Raises:
            InputError: it is not there: without it images would be read as some other network's.
        """
        if self.recipe is not None:
            return self.recipe
        recipe = self.release.files.get("recipe") if self.release else None
        raise InputError(
            f"{shown(str(file))} is the weights of {self.name}, whose recipe "
            + (
                f"is not beside it: copy {recipe.name} from the release too, or give --recipe"
                if recipe
                else "was not published: give --recipe"
            )
        )


def origin_of(file: Path, sha256: str) -> Origin | None:
    """Finds the release or the run that a file lies in.

    A release's folder may have been copied elsewhere, whole or in part, and the file renamed: its
    digest says what it is.

    Args:
        sha256: hex, of the file.

    Returns:
        None where it lies neither beside a manifest that states its digest, nor among a run's
        checkpoints or means.

    Raises:
        IntegrityError: it stands under the name of a release's weights, and the manifest beside it
            cannot be read or states another digest; or its recipe is not what was published.
        MachineError: the manifest cannot be read from disk.
    """
    file = file.resolve()
    return _release(file, sha256) or _run(file)


def copied_release(folder: Path) -> PublishedRelease | None:
    """Reads the manifest in a folder, whatever the folder is called; None if there is none.

    Raises:
        IntegrityError: it is no manifest of a release.
        MachineError: it cannot be read from disk.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return None
    with os_errors_explained(manifest, "read"):
        return parse_manifest(manifest.read_bytes(), folder.as_uri(), is_copy=True)


def released_file(folder: Path, stated: ReleasedFile) -> Path | None:
    """Finds a file of a release in a folder: under its own name, else by its digest.

    Raises:
        IntegrityError: what stands under its name has another digest.
    """
    path = folder / stated.name
    with os_errors_explained(folder, "read"):
        if path.is_file():
            _expect_digest(path, sha256_of(path), stated)
            return path
        same = (
            item
            for item in sorted(folder.iterdir())
            if item.is_file()
            and item.stat().st_size == stated.bytes
            and sha256_of(item) == stated.sha256
        )
        return next(same, None)


def _release(file: Path, sha256: str) -> Origin | None:
    try:
        release = copied_release(file.parent)
    except IntegrityError:
        # Many programs have a file of this name.
        if not file.name.startswith(f"{WEIGHTS}-"):
            return None
        raise
    if release is None:
        return None
    stated = release.files[WEIGHTS]
    if stated.sha256 != sha256:
        if stated.name == file.name:
            _expect_digest(file, sha256, stated)
        return None
    recipe = release.files.get("recipe")
    found = released_file(file.parent, recipe) if recipe else None
    return Origin(f"release {release.name}", found, release)


def _expect_digest(file: Path, sha256: str, stated: ReleasedFile) -> None:
    if stated.sha256 != sha256:
        raise IntegrityError(
            f"{shown(str(file))} has the sha256 {sha256[:12]}, its {MANIFEST} states "
            f"{stated.sha256[:12]}: it is not what was published; fetch it again"
        )


def _run(file: Path) -> Origin | None:
    for folder in file.parents:
        run = RunDir(folder)
        if run.recipe.is_file() and {run.checkpoints, run.means} & set(file.parents):
            return Origin(f"run {run.name}", run.recipe)
    return None
