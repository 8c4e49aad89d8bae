"""Removing files of a release's folder that no manifest names."""

from __future__ import annotations

from collections.abc import Iterable

from mixnet_core.errors import InputError
from mixnet_core.release.manifest import BESIDE, MANIFEST, parse_manifest
from mixnet_core.storage.storage import Storage


def remove_unnamed(storage: Storage, name: str, files: Iterable[str]) -> list[str]:
    """Removes files of a release's folder for as long as it has no manifest that names them.

    A mark of the caller's has to stand, so that whoever publishes there meanwhile waits.

    Returns:
        The names of those that were removed.

    Raises:
        MixnetError: as `storage.Storage`.
    """
    removed = []
    for file in files:
        if file in named_files(storage, name):
            continue
        storage.remove(f"{name}/{file}")
        removed.append(file)
    return removed


def named_files(storage: Storage, name: str) -> set[str]:
    """Returns the files of a release's folder that are the release's; empty where none is there.

    Raises:
        IntegrityError: its manifest is broken, so that nobody knows which they are.
        MixnetError: as `storage.Storage`.
    """
    if not storage.exists(f"{name}/{MANIFEST}"):
        return set()
    try:
        content = storage.read(f"{name}/{MANIFEST}")
    except InputError:
        # Deleted since.
        return set()
    release = parse_manifest(content, f"{storage.uri}/{name}")
    return {MANIFEST, *BESIDE, *(file.name for file in release.files.values())}
