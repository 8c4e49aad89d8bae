"""Finding and removing what publishing and deleting left: files that no manifest names.

Looked at is what publishing itself could have written: files named by role and digest in a folder
that a release can be named as, what stands beside them, uploads that did not end, marks of
deletions. All else in a registry is somebody's, is counted, and stays.

A publisher at work has files there that no manifest names yet. So a folder is left alone until the
newest of them is older than a stated age by the store's clock; and what is removed is marked
(`deletion_marks`), so that a publisher who found an old file there and counts on it puts it right.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from mixnet_core.errors import IntegrityError
from mixnet_core.release import deletion_marks
from mixnet_core.release.deletion_marks import marked, marked_name
from mixnet_core.release.manifest import BESIDE, looks_released
from mixnet_core.release.registry import NO_RELEASES
from mixnet_core.release.unnamed import named_files, remove_unnamed
from mixnet_core.runs.run_dir import is_name
from mixnet_core.storage.files import ASIDE_PREFIX
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.storage import Storage, Stored

DAY_SECONDS = 24 * 3600.0

_ROOT_FILES = ("index.html", "index.json")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collected:
    """Says what stands in a registry and belongs to no release.

    Attributes:
        unnamed: files that no manifest names, old enough to go.
        unfinished: uploads that did not end, likewise; and marks of deletions that were killed.
        young: of both kinds, those that may be somebody's at work.
        foreign: how many other files and uploads there are; they stay.
        unreadable: releases whose manifest cannot be read; nothing of theirs goes.
        removed: keys of what was removed.
    """

    unnamed: tuple[Stored, ...] = ()
    unfinished: tuple[Stored, ...] = ()
    young: tuple[Stored, ...] = ()
    foreign: int = 0
    unreadable: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass
class _Folder:
    """Holds what a folder has that its manifest does not name."""

    unnamed: list[Stored] = field(default_factory=list)
    beside: list[Stored] = field(default_factory=list)
    begun: list[Stored] = field(default_factory=list)

    def all(self) -> list[Stored]:
        return [*self.unnamed, *self.beside, *self.begun]


def collect(
    registry: str, *, older_seconds: float = DAY_SECONDS, delete: bool = False
) -> Collected:
    """Finds what no manifest names, and removes it if that is asked for.

    Args:
        older_seconds: what is younger stays, by the store's clock, and with it all of its folder.
        delete: whether to remove it.

    Raises:
        MixnetError: as `storage.Storage`.
    """
    storage = open_storage(registry)
    # Before what is compared with it: nothing is older than it was.
    now = storage.now()
    folders, marks, foreign, unreadable = _looked_at(storage)
    unnamed: list[Stored] = []
    unfinished: list[Stored] = []
    young: list[Stored] = []
    removed: list[str] = []
    for name, folder in sorted(folders.items()):
        if any(now - item.modified < older_seconds for item in folder.all()):
            young += folder.all()
            continue
        files = [*folder.beside, *folder.unnamed]
        unnamed += files
        unfinished += folder.begun
        if delete and files:
            removed += _removed(storage, name, files)
        if delete:
            removed += [item.key for item in folder.begun if storage.give_up(item)]
    for item in marks:
        if now - item.modified < max(older_seconds, deletion_marks.ABANDONED_SECONDS):
            young.append(item)
            continue
        unfinished.append(item)
        if delete:
            storage.remove(item.key)
            removed.append(item.key)
    return Collected(
        tuple(unnamed), tuple(unfinished), tuple(young), foreign, tuple(unreadable), tuple(removed)
    )


def _looked_at(
    storage: Storage,
) -> tuple[dict[str, _Folder], list[Stored], int, list[str]]:
    """Returns the folders with what they have too many, marks, foreign files, broken releases."""
    stored: dict[str, list[Stored]] = defaultdict(list)
    marks, foreign = [], 0
    links: dict[str, bool] = {}
    for item in storage.listed():
        name, _, file = item.key.partition("/")
        if not file:
            foreign += name not in _ROOT_FILES
        elif name in NO_RELEASES:
            if name == deletion_marks.FOLDER and marked_name(item.key):
                marks.append(item)
        elif is_name(name) and "/" not in file and not _is_link(storage, name, links):
            stored[name].append(item)
        else:
            foreign += 1
    folders: dict[str, _Folder] = defaultdict(_Folder)
    unreadable = []
    for name, items in stored.items():
        try:
            named = named_files(storage, name)
        except IntegrityError as error:
            log.warning("nothing of %s is collected: %s", name, error)
            unreadable.append(name)
            continue
        unnamed = [item for item in items if _file(item) not in named]
        ours = [item for item in unnamed if looks_released(_file(item))]
        beside = [item for item in unnamed if _file(item) in BESIDE] if ours else []
        foreign += len(unnamed) - len(ours) - len(beside)
        if ours:
            folders[name].unnamed, folders[name].beside = ours, beside
    for item in storage.unfinished():
        name, _, file = item.key.partition("/")
        if not _may_be_ours(name, file):
            foreign += 1
        elif name not in unreadable:
            folders[name].begun.append(item)
    return dict(folders), marks, foreign, unreadable


def _is_link(storage: Storage, name: str, known: dict[str, bool]) -> bool:
    """Tells whether a folder is a link: what no manifest here names, one elsewhere may."""
    if name not in known:
        known[name] = storage.is_link(name)
    return known[name]


def _may_be_ours(name: str, file: str) -> bool:
    """Tells whether a key is one under which publishing begins something."""
    if (file or name).rpartition("/")[2].startswith(ASIDE_PREFIX):
        return True
    return is_name(name) and looks_released(file)


def _removed(storage: Storage, name: str, files: Iterable[Stored]) -> list[str]:
    """Removes files of a folder, what stands beside them first: alone it would be somebody's."""
    with marked(storage, name):
        try:
            gone = remove_unnamed(storage, name, [_file(item) for item in files])
        except IntegrityError as error:
            log.warning("what was left of %s stays: %s", name, error)
            return []
    return [f"{name}/{file}" for file in gone]


def _file(item: Stored) -> str:
    return item.key.partition("/")[2]
