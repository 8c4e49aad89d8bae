"""Reading what a registry has: a release by its name, and which names there are."""

from __future__ import annotations

import functools
import logging

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.release import aliases, deletion_marks, retirements
from mixnet_core.release.manifest import MANIFEST, PublishedRelease, parse_manifest
from mixnet_core.runs.run_dir import checked_name, is_name
from mixnet_core.storage.open import open_object, open_storage
from mixnet_core.storage.storage import Storage
from mixnet_core.storage.uris import shown

NO_RELEASES = {
    "revalidations",
    aliases.FOLDER,
    deletion_marks.FOLDER,
    retirements.FOLDER,
}
"""Folders of a registry in which something else is kept (`revalidation.history`, `release`)."""

# Of what is passed over, so many are named.
_SAID = 5

log = logging.getLogger(__name__)


def read_release(uri: str) -> PublishedRelease:
    """Reads the manifest of the release folder at `uri`; its files are not looked at.

    Where no release is, but an alias has the name, the release that it stands for is read.

    Raises:
        InputError: there is no release, or the URI is unusable.
        IntegrityError: its manifest is broken, or not the one that the alias was set to.
        MachineError, TransientError: as `storage.Storage`.
    """
    return read_in(*open_object(uri))


def read_in(storage: Storage, name: str) -> PublishedRelease:
    """Does what `read_release` does, of a name in a registry that is open."""
    checked_name(name, "release")
    if storage.exists(f"{name}/{MANIFEST}"):
        return read_published(storage, name)
    alias = aliases.find_alias(storage, name)
    if alias is None:
        raise InputError(
            f"no release at {storage.uri}/{name}: expected a folder with {MANIFEST}; check the name"
        )
    if not storage.exists(f"{alias.release}/{MANIFEST}"):
        raise InputError(
            f"alias {name} stands for release {alias.release}, which is not at {storage.uri} any "
            f"more: set it to another with `mixnet release alias {name} RELEASE`"
        )
    return aliases.expect_manifest(alias, read_published(storage, str(alias.release)))


def release_names(registry: str) -> list[str]:
    """Lists the names in a registry that have a manifest, readable or not, sorted.

    What else stands there is passed over, and said once.

    Raises:
        InputError, MachineError, TransientError: as `storage.Storage`.
    """
    return _names(open_storage(registry))


def list_releases(registry: str) -> list[PublishedRelease]:
    """Reads the releases in a registry, by name.

    A broken manifest is left out, with a warning; `release_names` and `read_release` miss none.
    A registry that does not exist has none; `require_registry` tells it from an empty one.

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
            found.append(read_published(storage, name))
        # Broken; or deleted since its name was listed.
        except (IntegrityError, InputError) as error:
            log.warning("release passed over: %s", error)
    return found


def require_registry(registry: str) -> None:
    """Makes sure that a registry is there: a slip in its URI must not look like an empty one.

    Raises:
        InputError: there is nothing.
        MachineError, TransientError: as `storage.Storage`.
    """
    storage = open_storage(registry)
    if not storage.is_there():
        raise InputError(
            f"no registry at {storage.uri}: nothing was ever published there; check the URI"
        )


def _names(storage: Storage) -> list[str]:
    found, strays = [], []
    for entry in storage.names():
        name = entry.removesuffix("/")
        # Files beside releases, and folders that are hidden or known, are nobody's mistake.
        hidden = name.startswith(".") and name.strip(".") != ""
        if name == entry or hidden or name in NO_RELEASES:
            continue
        if not is_name(name):
            strays.append(f"{shown(name)!r} (no release can be named so)")
        elif storage.exists(f"{name}/{MANIFEST}"):
            found.append(name)
        else:
            strays.append(f"{shown(name)!r} (no {MANIFEST})")
    _say_passed_over(storage.uri, tuple(strays))
    return found


@functools.cache
def _say_passed_over(where: str, strays: tuple[str, ...]) -> None:
    """Says once what is no release: a registry is listed several times in one go."""
    if strays:
        more = f", and {len(strays) - _SAID} more" if len(strays) > _SAID else ""
        log.warning("passed over in %s: %s%s", where, ", ".join(strays[:_SAID]), more)


def read_published(storage: Storage, name: str) -> PublishedRelease:
    return parse_manifest(storage.read(f"{name}/{MANIFEST}"), f"{storage.uri}/{name}")
