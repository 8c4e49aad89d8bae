"""Retirements: releases that stay where they are and are not to be used any more, and why.

    retirements/digits-1/000001.json   retired, why
    retirements/digits-1/000002.json   returned: in use again
    retirements/digits-1/000003.json   deleted, why: it is gone on purpose

A record is of one manifest: another release under the same name later is not retired by it.
"""

from __future__ import annotations

from typing import Literal

from mixnet_core.errors import InputError
from mixnet_core.release.manifest import WEIGHTS, PublishedRelease
from mixnet_core.release.numbered import Record, add_record, newest, records
from mixnet_core.runs.run_dir import checked_name, is_name
from mixnet_core.storage.storage import Storage
from mixnet_core.storage.uris import refuse_credentials

FOLDER = "retirements"
_LONGEST_REASON = 500


class Retirement(Record):
    """Says what was decided about a release.

    Attributes:
        manifest_sha256, weights_sha256: hex, of the release that is meant; "" where its manifest
            could not be read.
        why: one line.
    """

    format: Literal[1] = 1
    release: str
    manifest_sha256: str
    weights_sha256: str
    action: Literal["retired", "returned", "deleted"]
    why: str


def retirement_of(storage: Storage, release: PublishedRelease) -> Retirement | None:
    """Returns why a release that is there is retired; None where it is not.

    Raises:
        MixnetError: as `numbered.records`.
    """
    found = [
        item.record
        for item in records(storage, f"{FOLDER}/{release.name}", Retirement)
        # Of a deletion that was broken off before the release was gone, too.
        if item.record.manifest_sha256 == release.manifest_sha256
        and item.record.action != "deleted"
    ]
    return found[-1] if found and found[-1].action == "retired" else None


def deleted_releases(storage: Storage) -> dict[str, Retirement]:
    """Returns the names that a deletion is the last thing on record of, with that record.

    Raises:
        MixnetError: as `numbered.newest`.
    """
    found = {}
    for name in noted_names(storage):
        last = newest(storage, f"{FOLDER}/{name}", Retirement)
        if last and last.record.action == "deleted":
            found[name] = last.record
    return found


def noted_names(storage: Storage) -> list[str]:
    """Returns the names of which anything is on record: few, where there are many releases.

    Raises:
        MixnetError: as `storage.Storage`.
    """
    names = [name.removesuffix("/") for name in storage.names(FOLDER) if name.endswith("/")]
    return [name for name in names if is_name(name)]


def note(
    storage: Storage,
    release: PublishedRelease,
    action: Literal["retired", "returned", "deleted"],
    why: str,
) -> bool:
    """Writes a decision about a release down.

    Returns:
        Whether it was not the last one already.

    Raises:
        InputError: the reason is empty, of several lines or too long, or holds credentials.
        ReleaseConflict: another writer wrote one meanwhile.
        MixnetError: as `numbered.add_record`.
    """
    return note_of(
        storage,
        Retirement(
            release=release.name,
            manifest_sha256=release.manifest_sha256,
            weights_sha256=release.files[WEIGHTS].sha256,
            action=action,
            why=why,
        ),
    )


def note_of(storage: Storage, record: Retirement) -> bool:
    """Does what `note` does, of a release whose manifest may be broken."""
    refuse_credentials(record.why)
    if not record.why.strip() or not record.why.isprintable() or len(record.why) > _LONGEST_REASON:
        raise InputError(
            f"the reason has {len(record.why):,} characters: expected one line of at most "
            f"{_LONGEST_REASON}, as --why TEXT"
        )
    folder = f"{FOLDER}/{checked_name(record.release, 'release')}"
    before = newest(storage, folder, Retirement)
    if before and before.record == record:
        return False
    add_record(storage, folder, before, record)
    return True
