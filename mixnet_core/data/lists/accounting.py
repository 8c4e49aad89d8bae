"""The account of a folder of lists: what the lists name, and every other file below."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mixnet_core.data.account import HIDDEN, Account, Tally
from mixnet_core.data.lists.folder import CLASSES, ListFolder
from mixnet_core.data.lists.text import plain
from mixnet_core.data.split_folders import is_hidden

# Counting what no list names must not take longer than the lists themselves.
_MOST_OTHERS = 100_000


def list_account(folder: ListFolder, taken: Sequence[list[str]]) -> Account:
    """Counts the files below the folder: those of the lists, and what no list names."""
    known = {path for paths in taken for path in paths}
    tally = Tally(folder.root)
    tally.take(len(known))
    most = max(_MOST_OTHERS, len(known))
    unread: list[OSError] = []
    others = (path for path in _files_below(folder.root, unread) if path not in known)
    for count, path in enumerate(others, 1):
        if count > most:
            note = f"more than {most:,} files are in no list: they are not counted"
            return Account(notes=(*folder.notes, note))
        tally.leave(_reason(path), folder.root / path)
    for error in unread:
        place = plain(os.path.relpath(error.filename, folder.root))
        tally.note(f"{place}/ cannot be read ({error.strerror}): its files are not counted")
    for note in folder.notes:
        tally.note(note)
    return tally.account()


def _files_below(root: Path, unread: list[OSError]) -> Iterator[str]:
    """Yields the paths of all files from `root`, links to folders not followed."""
    for place, folders, names in os.walk(root, onerror=unread.append):
        inner = os.path.relpath(place, root)
        folders.sort()
        yield from (name if inner == "." else f"{inner}/{name}" for name in sorted(names))


def _reason(path: str) -> str:
    if any(map(is_hidden, path.split("/"))):
        return HIDDEN
    is_list = "/" not in path and (path == CLASSES or path.lower().endswith(".csv"))
    return "lists" if is_list else "in no list"
