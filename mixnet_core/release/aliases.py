"""Aliases: names that stand for a release now, and may stand for another one later.

    aliases/production/000001.json   stands for digits-1
    aliases/production/000002.json   stands for digits-2
    aliases/production/000003.json   stands for none: removed

A record holds the manifest's digest too: if another release takes the name, the alias does not
follow it. Who reads an alias goes on with the release's own name, and records that.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Literal

from pydantic import Field

from mixnet_core.errors import InputError, IntegrityError, ReleaseConflict, TransientError
from mixnet_core.release.deletion_marks import being_deleted
from mixnet_core.release.manifest import MANIFEST, PublishedRelease
from mixnet_core.release.numbered import Numbered, Record, add_record, key_of, newest, records
from mixnet_core.runs.run_dir import checked_name, is_name
from mixnet_core.storage.storage import Storage
from mixnet_core.storage.uris import shown

FOLDER = "aliases"


class Alias(Record):
    """Says what an alias stands for.

    Attributes:
        release: its name; None: the alias was removed.
        manifest_sha256: hex, of that release's manifest; "" likewise.
    """

    format: Literal[1] = 1
    alias: str
    release: str | None
    manifest_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""


def find_alias(storage: Storage, name: str) -> Alias | None:
    """Returns what an alias says now; None where there is none, or it was removed.

    Raises:
        IntegrityError: its newest record is broken, or another alias'.
        MixnetError: as `storage.Storage`.
    """
    found = newest(storage, f"{FOLDER}/{name}", Alias)
    if found and found.record.alias != name:
        raise IntegrityError(
            f"{shown(storage.uri)}/{key_of(f'{FOLDER}/{name}', found.number)} is a record of alias "
            f"{shown(found.record.alias)}, not of {name}: set the alias {name} again"
        )
    return found.record if found and found.record.release is not None else None


def all_aliases(storage: Storage) -> list[Alias]:
    """Returns what all aliases say now, by name.

    Raises:
        IntegrityError, MixnetError: as `find_alias`.
    """
    found = (find_alias(storage, name) for name in alias_names(storage))
    return [alias for alias in found if alias is not None]


def alias_names(storage: Storage) -> list[str]:
    """Returns the names that are or were an alias, sorted.

    Raises:
        MixnetError: as `storage.Storage`.
    """
    names = [name.removesuffix("/") for name in storage.names(FOLDER) if name.endswith("/")]
    return [name for name in names if is_name(name)]


def alias_history(storage: Storage, name: str) -> list[Numbered[Alias]]:
    """Returns what an alias said so far, the oldest first.

    Raises:
        IntegrityError, MixnetError: as `find_alias`.
    """
    return records(storage, f"{FOLDER}/{name}", Alias)


def set_alias(storage: Storage, name: str, release: PublishedRelease) -> bool:
    """Makes an alias stand for a release; who may name what is `promotion`'s to ask.

    Args:
        storage: of the registry that the release is in.

    Returns:
        Whether it did not before.

    Raises:
        ReleaseConflict: another writer set it meanwhile.
        TransientError: the release is being deleted.
        InputError: the release was deleted meanwhile, or another one has the name by now.
        MixnetError: as `numbered.add_record`.
    """
    folder = f"{FOLDER}/{checked_name(name, 'alias')}"
    before = newest(storage, folder, Alias)
    wanted = Alias(alias=name, release=release.name, manifest_sha256=release.manifest_sha256)
    if before and before.record == wanted:
        return False
    add_record(storage, folder, before, wanted)
    # Only now: a deletion marks its release first and looks at aliases after that, so that one of
    # the two sees the other, whoever is first.
    marked = being_deleted(storage, release.name)
    if not marked and storage.exists(f"{release.name}/{MANIFEST}"):
        return True
    ours = Numbered(before.number + 1 if before else 1, wanted)
    old = before.record if before else Alias(alias=name, release=None)
    # Whoever set it since had a reason of their own.
    with suppress(ReleaseConflict):
        add_record(storage, folder, ours, old)
    if marked:
        raise TransientError(
            f"release {release.name} is being deleted: nothing was changed; name another release, "
            "or try again once that has ended"
        )
    raise InputError(f"release {release.name} was deleted meanwhile: name another one")


def remove_alias(storage: Storage, name: str) -> Alias | None:
    """Removes an alias; its history stays.

    Returns:
        What it stood for; None where there was none.

    Raises:
        ReleaseConflict: another writer set it meanwhile.
        MixnetError: as `numbered.add_record`.
    """
    folder = f"{FOLDER}/{checked_name(name, 'alias')}"
    before = newest(storage, folder, Alias)
    if before is None or before.record.release is None:
        return None
    add_record(storage, folder, before, Alias(alias=name, release=None))
    return before.record


def refuse_alias(storage: Storage, name: str) -> None:
    """Refuses an alias' name for a release.

    Raises:
        InputError: it is one.
        MixnetError: as `find_alias`.
    """
    alias = find_alias(storage, name)
    if alias is not None:
        raise InputError(
            f"{name!r} is an alias at {shown(storage.uri)} (of {alias.release}): publish under "
            "another name, and set the alias to it"
        )


def expect_manifest(alias: Alias, release: PublishedRelease) -> PublishedRelease:
    """Returns the release if it is the one that the alias was set to.

    Raises:
        IntegrityError: another one has its name by now.
    """
    if alias.manifest_sha256 != release.manifest_sha256:
        raise IntegrityError(
            f"alias {alias.alias} was set to release {alias.release} with a manifest "
            f"{alias.manifest_sha256[:12]}, the one at {release.shown_uri} is "
            f"{release.manifest_sha256[:12]}: find out why, then set the alias again"
        )
    return release
