"""Publishing a release all at once or not at all, and reading what was published.

Files go first, under names that carry their digest, so two publishers never overwrite each other's;
the manifest that makes them a release goes last, by create-if-absent. What a crash or a lost race
leaves is files that no manifest names: nobody sees them, and publishing the same again uses them.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from mixnet_core.errors import InputError, IntegrityError, ReleaseConflict
from mixnet_core.release.manifest import (
    MANIFEST,
    Manifest,
    PublishedRelease,
    manifest_bytes,
    manifest_of,
    parse_manifest,
)
from mixnet_core.runs.run_dir import checked_name
from mixnet_core.runs.values import Release
from mixnet_core.storage.files import fingerprint
from mixnet_core.storage.open import open_object, open_storage
from mixnet_core.storage.storage import Storage

log = logging.getLogger(__name__)


def publish_release(
    name: str, *, registry: str, files: dict[str, Path], facts: dict[str, Any]
) -> Release:
    """Makes a release, or confirms that it is there and whole.

    Args:
        name: the folder in the registry.
        registry: where releases are, as `storage.open_storage` takes it.
        files: role -> local file; "weights" is required.
        facts: JSON values; with the digests of the files they decide what "the same release" means.

    Returns:
        `reused` is True where this very release stood there; missing or damaged files of it have
        then been put right.

    Raises:
        ReleaseConflict: another release has this name. Nothing of it was touched.
        InputError: an unusable name, role or target, a missing file.
        IntegrityError: a file changed meanwhile or was stored wrongly, or the manifest is broken.
        MachineError, TransientError: as `storage.Storage`.
    """
    manifest = manifest_of(name, files, facts)
    content = manifest_bytes(manifest)
    storage = open_storage(registry)
    exists = storage.exists(f"{name}/{MANIFEST}")
    if exists:
        _check_same(_read(storage, name), manifest)
    for role, file in manifest.files.items():
        if storage.upload(files[role], f"{name}/{file.name}", file.sha256) and exists:
            log.warning("%s/%s/%s was missing or damaged: put right", storage.uri, name, file.name)
    if not exists and not storage.create(f"{name}/{MANIFEST}", content):
        exists = True
        _check_same(_read(storage, name), manifest)
    return Release(
        name=name,
        uri=f"{storage.uri}/{name}",
        files={role: file.name for role, file in manifest.files.items()},
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        reused=exists,
    )


def read_release(uri: str) -> PublishedRelease:
    """Reads the manifest of the release folder at `uri`; its files are not looked at.

    Raises:
        InputError: there is no release, or the URI is unusable.
        IntegrityError: its manifest is broken.
        MachineError, TransientError: as `storage.Storage`.
    """
    storage, name = open_object(uri)
    checked_name(name, "release")
    if not storage.exists(f"{name}/{MANIFEST}"):
        raise InputError(
            f"no release at {storage.uri}/{name}: expected a folder with {MANIFEST}; check the name"
        )
    return _read(storage, name)


def release_names(registry: str) -> list[str]:
    """Lists the names in a registry that have a manifest, readable or not, sorted.

    Raises:
        InputError, MachineError, TransientError: as `storage.Storage`.
    """
    return _names(open_storage(registry))


def list_releases(registry: str) -> list[PublishedRelease]:
    """Reads the releases in a registry, by name.

    A broken manifest is left out, with a warning; `release_names` and `read_release` miss none.

    Raises:
        InputError, MachineError, TransientError: as `storage.Storage`.

    Example:
        >>> import mixnet_core
        >>> [release.name for release in mixnet_core.list_releases("workspace/releases")]
        ['tiny']
    """
    storage = open_storage(registry)
    found = []
    for name in _names(storage):
        try:
            found.append(_read(storage, name))
        except IntegrityError as error:
            log.warning("release passed over: %s", error)
    return found


def _names(storage: Storage) -> list[str]:
    return [
        folder.rstrip("/")
        for folder in storage.names()
        if folder.endswith("/") and storage.exists(f"{folder}{MANIFEST}")
    ]


def _read(storage: Storage, name: str) -> PublishedRelease:
    return parse_manifest(storage.read(f"{name}/{MANIFEST}"), f"{storage.uri}/{name}")


def _check_same(published: PublishedRelease, ours: Manifest) -> None:
    if manifest_bytes(published) == manifest_bytes(ours):
        return
    differing = [
        role
        for role in sorted(published.files.keys() | ours.files.keys())
        if published.files.get(role) != ours.files.get(role)
    ]
    differing += [
        f"facts.{key}"
        for key in sorted(published.facts.keys() | ours.facts.keys())
        if _as_text(published.facts, key) != _as_text(ours.facts, key)
    ]
    raise ReleaseConflict(
        f"another release named {ours.name!r} is published at {published.uri} (it differs in "
        f"{', '.join(differing)}): publish under another name; what is published never changes"
    )


def _as_text(facts: dict[str, Any], key: str) -> str:
    """Returns a fact as the document has it: 1, 1.0 and True are equal in Python only."""
    return fingerprint(facts[key]) if key in facts else ""
