"""Deleting a release: it stops to be one first, and its files go after that.

    1  a mark, for whoever publishes or sets an alias meanwhile (`deletion_marks`)
    2  aliases and children are looked at; on record: deleted, and why (`retirements`)
    3  the manifest: from here on it is no release
    4  what stands beside it, then the files that the manifest named
    5  the mark goes

Killed before 3 the release stands whole; killed after it, files are left that no manifest names,
which `collect` removes, as the same deletion does that is given again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.release.aliases import all_aliases, remove_alias
from mixnet_core.release.deletion_marks import marked
from mixnet_core.release.manifest import (
    BESIDE,
    MANIFEST,
    WEIGHTS,
    PublishedRelease,
    looks_released,
    parse_manifest,
)
from mixnet_core.release.registry import read_in, release_names
from mixnet_core.release.retirements import FOLDER as RETIREMENTS
from mixnet_core.release.retirements import Retirement, note_of
from mixnet_core.release.unnamed import remove_unnamed
from mixnet_core.runs.run_dir import checked_name
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.storage import Storage
from mixnet_core.storage.uris import refuse_credentials, shown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deletion:
    """Says what a deletion did.

    Attributes:
        files: names that were removed from the release's folder, the manifest first.
        aliases: that stood for it and were removed.
        left: names in its folder that are left: they were not the release's.
    """

    name: str
    files: tuple[str, ...]
    aliases: tuple[str, ...]
    left: tuple[str, ...]


def delete_release(
    name: str,
    registry: str,
    *,
    why: str = "no reason given",
    force: bool = False,
    single_writer: bool = False,
) -> Deletion:
    """Deletes a release for good.

    Args:
        force: also what an alias stands for, which is removed, what another release started from,
            and what has a manifest that cannot be read.

    Raises:
        InputError: there is no such release, or its folder is a link to another place; or without
            `force` an alias or another release names it.
        IntegrityError: its manifest is broken; likewise.
        ReleaseConflict: it was published again meanwhile, or an alias was set to it.
        MixnetError: as `storage.Storage` and `retirements.note`.
    """
    refuse_credentials(name, registry, why)
    storage = open_storage(registry, single_writer=single_writer)
    checked_name(name, "release")
    if not storage.exists(f"{name}/{MANIFEST}"):
        raise _no_release(storage, name)
    if storage.is_link(name):
        raise InputError(
            f"{storage.uri}/{name} is a link, and what it leads to may be another registry's: "
            "remove the link by hand, or delete the release where it is"
        )
    with marked(storage, name):
        release = _read(storage, name, force=force)
        naming = [alias.alias for alias in all_aliases(storage) if alias.release == name]
        if not force:
            _expect_unnamed(storage, name, naming)
            _expect_childless(release, storage)
        record = Retirement(
            release=name,
            manifest_sha256=release.manifest_sha256 if release else "",
            weights_sha256=release.files[WEIGHTS].sha256 if release else "",
            action="deleted",
            why=why,
        )
        note_of(storage, record)
        for alias in naming:
            remove_alias(storage, alias)
        storage.remove(f"{name}/{MANIFEST}")
        stored = storage.names(name)
        if release is None:
            files = [item for item in stored if looks_released(item)]
        else:
            files = [file.name for file in release.files.values()]
        removed = remove_unnamed(storage, name, [*_beside(stored), *files])
        left = tuple(item for item in storage.names(name) if item not in removed)
    if MANIFEST in left:
        log.warning("release %s was published again while it was deleted: it stands", name)
    return Deletion(name, (MANIFEST, *removed), tuple(naming), left)


def _beside(stored: Sequence[str]) -> list[str]:
    return [name for name in BESIDE if name in stored]


def _read(storage: Storage, name: str, *, force: bool) -> PublishedRelease | None:
    try:
        return parse_manifest(storage.read(f"{name}/{MANIFEST}"), f"{storage.uri}/{name}")
    except InputError:
        raise _no_release(storage, name) from None
    except IntegrityError as error:
        if force:
            return None
        raise IntegrityError(f"{error}; --force deletes it unread") from None


def _expect_unnamed(storage: Storage, name: str, naming: Sequence[str]) -> None:
    if naming:
        raise InputError(
            f"release {name} is what {_counted('alias', 'aliases', naming)} stands for at "
            f"{shown(storage.uri)}: set it to another release first, or say --force"
        )


def _expect_childless(release: PublishedRelease | None, storage: Storage) -> None:
    if release is None:
        return
    sha256 = release.files[WEIGHTS].sha256
    children, unreadable = [], []
    for name in release_names(storage.uri):
        if name == release.name:
            continue
        try:
            started = read_in(storage, name).facts.get("started_from")
        except IntegrityError:
            unreadable.append(name)
            continue
        except InputError:
            # Deleted since.
            continue
        if isinstance(started, dict) and started.get("sha256") == sha256:
            children.append(name)
    if unreadable:
        raise InputError(
            f"whether {_counted('release', 'releases', unreadable)} started from {release.name} "
            "cannot be read from a broken manifest: put that right first, or say --force"
        )
    if children:
        raise InputError(
            f"release {release.name} is what {_counted('release', 'releases', children)} started "
            f"from: retire it instead (`mixnet release retire {release.name} --why TEXT`), or say "
            "--force"
        )


def _counted(one: str, many: str, names: Sequence[str]) -> str:
    said = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{one if len(names) == 1 else many} {said}"


def _no_release(storage: Storage, name: str) -> InputError:
    left = [item for item in storage.names(name) if looks_released(item)]
    if left:
        return InputError(
            f"{shown(storage.uri)}/{name} is no release any more, {len(left)} of its files are "
            "left: `mixnet release collect --delete` removes them"
        )
    gone = f"{RETIREMENTS}/{name}"
    known = f"; {gone} says what became of it" if storage.names(gone) else ""
    return InputError(
        f"no release {name!r} at {shown(storage.uri)}: `mixnet releases` lists them{known}"
    )
