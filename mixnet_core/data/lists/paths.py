"""Where the images of a list are: each row's text becomes the path of one file below the folder.

A path may be written as Windows does, begin with ./ or be absolute, as long as it leads into the
folder; where a list has ids, the file of that name with an image's suffix is meant. All images of a
list are looked for in one folder after the other, and the first that has all of them is it:

    the lists' own folder, then those named like the list (train.csv): train/, train_images/,
    train-images/, images/train/, train/images/, then images/, image/, imgs/, img/, then for val.csv
    those of train.csv: who cuts val.csv from it leaves the images where they are

Folders are listed, once each: asking for a file per suffix takes minutes on a network disk.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from mixnet_core.data.lists.rows import ListFile
from mixnet_core.data.lists.text import plain, quoted
from mixnet_core.data.pictures import UNUSABLE
from mixnet_core.errors import DatasetError
from mixnet_core.storage.files import os_errors_explained

_GENERAL = ("images", "image", "imgs", "img")
_LIKE_THE_LIST = ("{0}", "{0}_images", "{0}-images", "images/{0}", "{0}/images")
# What an id may lack.
_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm",
    ".mpo", ".tif", ".tiff", ".webp", ".jp2", ".avif", ".heic",
))  # fmt: skip
_NAMED = 20
_DRIVE = re.compile(r"[A-Za-z]:/")
_NO_SUCH_FOLDER = (
    errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP,
)  # fmt: skip


class Located(NamedTuple):
    """Says where the images of a list are.

    Attributes:
        folder: in which the list's paths start, from the lists' folder; "" is that one.
        paths: from the lists' folder, in their one spelling, one per row.
    """

    folder: str
    paths: list[str]


class _Absent(NamedTuple):
    why: str
    near: bool = False


class _Fault(NamedTuple):
    """Says what is wrong with a row's file; `near` tells whether one of a like name is there."""

    row: int
    path: str
    what: str
    near: bool = False


def named_like(name: str) -> list[str]:
    """Returns the folders that a list's name says its images are in."""
    stem = name.rpartition(".")[0]
    return [like.format(stem) for like in _LIKE_THE_LIST]


def folders_of(*lists: str) -> list[str]:
    """Returns the folders to look into, the likeliest first.

    Args:
        lists: names of a list and, if it is not that one, of the list for training.
    """
    named = [named_like(name) for name in lists]
    of_train = [folder for folders in named[1:] for folder in folders]
    return list(dict.fromkeys(["", *named[0], *_GENERAL, *of_train]))


def located(
    found: ListFile, root: Path, folders: Iterable[str], rows: range | None = None
) -> Located:
    """Finds the images of a list by their names.

    Args:
        root: the lists' folder.
        folders: to look into.
        rows: to look for; None: all.

    Raises:
        DatasetError: a path leads outside or cannot be written; images are missing, or several
            files fit: the first 20 are named.
        MachineError: a folder cannot be read.
    """
    looked_for = rows if rows is not None else range(len(found.paths))
    starts = tuple(f"{start}/" for start in dict.fromkeys((str(root.resolve()), str(root))))
    paths = [_inside(found, row, starts) for row in looked_for]
    least: tuple[str, list[_Fault]] | None = None
    tried = [folder for folder in folders if not folder or (root / folder).is_dir()]
    for folder in tried:
        there, faults = _looked_up(found, root, folder, looked_for, paths)
        if not faults:
            return Located(folder, there)
        if least is None or _distance(faults) < _distance(least[1]):
            least = folder, faults
    assert least is not None
    others = [f"{f}/" if f else "the lists' folder" for f in tried if f != least[0]]
    too = f" (looked for in {', '.join(others)} too)" if others else ""
    raise _faulty(found, root, least[1], len(paths), too)


def sizes_and_times(found: ListFile, root: Path, paths: Sequence[str]) -> list[tuple[int, int]]:
    """Returns size in bytes and modification time in ns of each file.

    Args:
        paths: from `root`, one per row.

    Raises:
        DatasetError: some cannot be read or are no files: the first 20 are named.
    """
    start = str(root)
    faults: list[_Fault] = []
    stamps = []
    for row, path in enumerate(paths):
        try:
            # A million `Path`s take a minute.
            status = os.stat(f"{start}/{path}")  # noqa: PTH116
        except OSError as error:
            faults.append(_Fault(row, path, f"cannot be read ({error.strerror})"))
            continue
        if not stat.S_ISREG(status.st_mode):
            faults.append(_Fault(row, path, "is no file"))
        stamps.append((status.st_size, status.st_mtime_ns))
    if faults:
        raise _faulty(found, root, faults, len(paths))
    return stamps


def _inside(found: ListFile, row: int, starts: tuple[str, ...]) -> str:
    """Returns a path in its one spelling, so that an image is not taken for two."""
    path = found.paths[row].replace("\\", "/")
    if path.startswith("/"):
        start = next((start for start in starts if path.startswith(start)), "")
        path = path[len(start) :]
    if path.startswith("/") or ".." in path.split("/") or _DRIVE.match(path) or "://" in path:
        raise DatasetError(
            f"{found.line(row)}: path {quoted(found.paths[row])} is not inside the folder: "
            f"expected a path from {starts[-1][:-1]}"
        )
    if UNUSABLE.search(path):
        raise DatasetError(
            f"{found.line(row)}: path {quoted(path)} is not plain text: rename the file"
        )
    return posixpath.normpath(path)


def _looked_up(
    found: ListFile, root: Path, folder: str, rows: range, paths: Sequence[str]
) -> tuple[list[str], list[_Fault]]:
    """Returns the paths from the lists' folder, and what is missing."""
    by_folder: dict[str, list[int]] = {}
    for position, path in enumerate(paths):
        by_folder.setdefault(path.rpartition("/")[0], []).append(position)
    there = [""] * len(paths)
    faults: list[_Fault] = []
    for inner, positions in by_folder.items():
        start = posixpath.join(folder, inner)
        listing = _Listing(root, start)
        for position in positions:
            name = paths[position].rpartition("/")[2]
            fit = listing.find(name)
            if isinstance(fit, str):
                there[position] = posixpath.join(start, fit)
                continue
            there[position] = posixpath.join(start, name)
            written = found.paths[rows[position]]
            if "\\" in written and os.path.lexists(root / folder / written):
                # Unpacked here, an archive from Windows may leave names with backslashes.
                there[position] = posixpath.join(folder, written)
            else:
                what = f"cannot be read ({fit.why})"
                faults.append(_Fault(rows[position], there[position], what, fit.near))
    return there, sorted(faults)


def _distance(faults: list[_Fault]) -> tuple[int, int]:
    """Ranks a folder by how many images it lacks, then by how many that it has nothing like."""
    return len(faults), sum(not fault.near for fault in faults)


class _Listing:
    """Finds names in one folder."""

    def __init__(self, root: Path, folder: str) -> None:
        self._root = root
        self._folder = folder
        self._names: frozenset[str] | None = None
        with os_errors_explained(root / folder, "read"):
            try:
                with os.scandir(root / folder) as found:
                    self._names = frozenset(entry.name for entry in found)
            except OSError as error:
                if error.errno not in _NO_SUCH_FOLDER:
                    raise

    def find(self, name: str) -> str | _Absent:
        """Returns the one name that fits, or why there is none."""
        if self._names is None:
            return self._no_folder
        if name in self._names:
            return name
        same = self._by_letters.get(unicodedata.normalize("NFC", name), [])
        if not same and not _is_image(name):
            same = self._by_stem.get(name, [])
        if len(same) > 1:
            both = " and ".join(map(plain, sorted(same)[:2]))
            return _Absent(f"{both} both fit: write the one that is meant", near=True)
        if same:
            return same[0]
        near = self._near.get(_stem(name).casefold())
        hint = f", but {plain(near)} is there" if near else ""
        return _Absent(f"no such file{hint}", near=near is not None)

    @cached_property
    def _by_letters(self) -> dict[str, list[str]]:
        """Groups the names by how they read: macOS writes accents in another way."""
        return _grouped((unicodedata.normalize("NFC", name), name) for name in self._names or ())

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _grouped((_stem(name), name) for name in self._names or () if _is_image(name))

    @cached_property
    def _near(self) -> dict[str, str]:
        names = sorted(self._names or (), reverse=True)
        return {_stem(name).casefold(): name for name in names if _is_image(name)}

    @cached_property
    def _no_folder(self) -> _Absent:
        inner, _, name = self._folder.rpartition("/")
        try:
            others = [entry.name for entry in (self._root / inner).iterdir() if entry.is_dir()]
        except OSError:
            others = []
        near = next((o for o in sorted(others) if o.casefold() == name.casefold()), None)
        hint = f", but {plain(near)}/ is there" if near else ""
        return _Absent(f"no such folder{hint}", near=near is not None)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, name in pairs:
        groups.setdefault(key, []).append(name)
    return groups


def _stem(name: str) -> str:
    return name.rpartition(".")[0] if _is_image(name) else name


def _is_image(name: str) -> bool:
    return f".{name.rpartition('.')[2].lower()}" in _SUFFIXES


def _faulty(
    found: ListFile, root: Path, faults: list[_Fault], rows: int, too: str = ""
) -> DatasetError:
    first, *others = faults
    name = Path(found.where).name
    more = ""
    if others:
        some = ", ".join(
            f"{plain(fault.path)} (line {found.lines[fault.row]})" for fault in others[: _NAMED - 1]
        )
        more = f"; so it is with {len(faults)} of its {rows:,} images: {some}" + (
            ", ..." if len(faults) > _NAMED else ""
        )
    return DatasetError(
        f"{root / plain(first.path)}, listed in {name}, {first.what}, line "
        f"{found.lines[first.row]}{more}{too}: put the files there, or correct or remove the rows"
    )
