"""The pictures that a user names: files, folders with all below them, patterns, a list.

What is named by itself is a picture or a line that says why it is none. In a folder the content
decides, as in a dataset (`data.pictures`): what is no picture is left out and counted. What is
named twice is there twice.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from mixnet_core.data.account import HIDDEN, Tally
from mixnet_core.data.pictures import is_picture, no_picture
from mixnet_core.data.split_folders import is_hidden
from mixnet_core.errors import InputError, MachineError
from mixnet_core.storage.uris import shown

LIST = "-"
"""Stands for the paths on standard input."""

_PATTERN = frozenset("*?[")
_LONGEST_PATH = 4096
_PIECE = 1 << 16


@dataclass(frozen=True)
class NamedPicture:
    """Names a picture.

    Attributes:
        path: as it was named, or found from there.
        reason: why it cannot be read, where that shows already; "" else.
    """

    path: str
    reason: str = ""


def named_pictures(
    names: Iterable[str], tally: Tally, listed: Iterable[str] = ()
) -> Iterator[NamedPicture]:
    """Yields what the arguments of a command stand for, in their order.

    Args:
        names: paths of files and folders, patterns with `*`, `?`, `[...]` and `**`, or LIST; a path
            that is there is taken as it is, whatever its letters.
        tally: is told of every file in folders.
        listed: the paths that LIST stands for.
    """
    for name in names:
        if name == LIST:
            for path in listed:
                yield from of_path(path, tally)
            continue
        path = os.path.expanduser(name)  # noqa: PTH111
        if os.path.lexists(path) or not _PATTERN & set(path):
            yield from of_path(path, tally)
            continue
        # Sorted: the file system's order is another one on each.
        matches = sorted(glob.iglob(path, recursive=True))  # noqa: PTH207
        for match in matches:
            yield from of_path(match, tally)
        if not matches:
            yield NamedPicture(shown(path), "nothing matches the pattern")


def of_path(path: str, tally: Tally) -> Iterator[NamedPicture]:
    """Yields a file, or the pictures below a folder, sorted by name; folders in their place.

    Args:
        tally: is told of every file in the folder.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except OSError as error:
        is_link = os.path.islink(path)  # noqa: PTH114
        tally.take()
        # What is no file may be a URI with a secret in it.
        yield NamedPicture(shown(path), "a link that leads nowhere" if is_link else _why(error))
        return
    if stat.S_ISDIR(mode):
        yield from _below(path, tally)
        return
    tally.take()
    yield NamedPicture(path, "" if stat.S_ISREG(mode) else "it is no regular file")


def listed_paths(stream: IO[bytes], *, null: bool) -> Iterator[str]:
    """Yields the paths in a list, one a line; empty lines are left out.

    Args:
        null: whether they end in a zero byte instead, as of `find -print0`, so that a name may
            hold a line's end.

    Raises:
        InputError: what stands there is no list of paths.
    """
    end, rest = b"\0" if null else b"\n", b""
    while piece := stream.read(_PIECE):
        *whole, rest = (rest + piece).split(end)
        yield from (_listed(item, null=null) for item in whole if item.strip())
        if len(rest) > _LONGEST_PATH:
            raise InputError(_no_list(null=null))
    if rest.strip():
        yield _listed(rest, null=null)


def _listed(item: bytes, *, null: bool) -> str:
    if not null:
        # Of a file that was written on another system.
        item = item.removesuffix(b"\r")
    if b"\0" in item or len(item) > _LONGEST_PATH:
        raise InputError(_no_list(null=null))
    return os.fsdecode(item)


def _no_list(*, null: bool) -> str:
    if null:
        return "standard input holds no paths that end in zero bytes: leave --null out"
    return (
        "standard input holds no paths, one a line: give pictures by their paths; a list of "
        "`find -print0` takes --null"
    )


def _below(folder: str, tally: Tally) -> Iterator[NamedPicture]:
    """Yields the pictures below a folder; each folder once, however many links lead to it."""
    seen: set[tuple[int, int]] = set()
    # Not recursive: folders may be deeper than Python calls.
    open_folders = [iter(_entries(folder, tally, seen))]
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
        elif isinstance(entry, NamedPicture):
            yield entry
        else:
            open_folders.append(iter(_entries(entry.path, tally, seen)))


def _entries(
    folder: str, tally: Tally, seen: set[tuple[int, int]]
) -> Iterator[NamedPicture | os.DirEntry[str]]:
    """Yields a folder's pictures and folders, sorted by name."""
    try:
        status = os.stat(folder)  # noqa: PTH116
        key = (status.st_dev, status.st_ino)
        if key in seen:
            tally.leave("links to folders that were looked into already", folder)
            return
        seen.add(key)
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        tally.take()
        yield NamedPicture(folder, f"a folder that cannot be read: {_why(error)}")
        return
    for entry in entries:
        if is_hidden(entry.name):
            if entry.is_dir(follow_symlinks=False):
                tally.leave_all(HIDDEN, entry.path)
            else:
                tally.leave(HIDDEN, entry.path)
        elif _is_folder(entry):
            yield entry
        else:
            yield from _file(entry, tally)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # Links that lead in a circle.
        return False


def _file(entry: os.DirEntry[str], tally: Tally) -> Iterator[NamedPicture]:
    reason = ""
    try:
        mode = entry.stat().st_mode
        if not stat.S_ISREG(mode):
            tally.leave("no regular files", entry.path)
            return
        if not is_picture(entry):
            tally.leave(no_picture(entry.name), entry.path)
            return
    except OSError as error:
        reason = "a link that leads nowhere" if entry.is_symlink() else _why(error)
    except MachineError as error:
        cause = error.__cause__
        reason = _why(cause) if isinstance(cause, OSError) else str(error)
    tally.take()
    yield NamedPicture(entry.path, reason)


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return error.strerror or str(error)
