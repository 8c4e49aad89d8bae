"""Images named by lists, train.csv and val.csv or another that means val, read where they are.

How a list is written, where its images are, what its values mean and which list is which:
`data.lists`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mixnet_core.data.account import Account
from mixnet_core.data.class_folders import listing_digest
from mixnet_core.data.download import Fetch
from mixnet_core.data.file_images import files_as_images
from mixnet_core.data.lists.accounting import list_account
from mixnet_core.data.lists.classes import Meaning, meaning_for, meaning_of
from mixnet_core.data.lists.folder import ListFolder
from mixnet_core.data.lists.paths import sizes_and_times
from mixnet_core.data.lists.text import plain, quoted
from mixnet_core.data.room import Room, list_room
from mixnet_core.data.source import Claim, DataSource, Images, Source
from mixnet_core.data.split_folders import is_folder, is_hidden
from mixnet_core.data.split_names import candidates
from mixnet_core.errors import DatasetError
from mixnet_core.recipe.sections import Data

_NAMED = 3
# As many rows of a list are asked for their sizes.
_SAMPLED_ROWS = 500


class Lists(DataSource):
    """Opens lists; classes are the lists' values, or the lines of classes.txt."""

    needs_path = True
    are_files = True
    takes_subset = True
    layout = "in_place"

    def claim(self, folder: Path, *, expected: bool) -> Claim:
        """Claims a folder with a list and without class folders, and any expected one."""
        if folder.is_dir() and not _has_class_folders(folder):
            lists = ListFolder(folder)
            if lists.train is not None or lists.val is not None:
                return Claim.SHOWN
        return Claim.EXPECTED if expected else Claim.NO

    def classes(self, data: Data) -> tuple[str, ...]:
        """Returns the lists' classes; whether the images are there is not looked at.

        Raises:
            DatasetError, MachineError: as `open_lists`.
        """
        folder = ListFolder(data.path or "")
        folder.expect_train()
        return _meaning(folder).classes

    def rooms(self, data: Data) -> list[Room]:
        """Estimates what copies of the listed files take; raises what `open` does, and OSError."""
        folder = ListFolder(data.path or "")
        return [_room(folder, name) for name in (folder.expect_train(), folder.val) if name]

    def quick(self, data: Data, datasets: Path) -> Source | None:
        """Lists the images, as `open_lists`."""
        return open_lists(data.path or "", subset=data.subset)

    def open(self, data: Data, datasets: Path, fetch: Fetch) -> Source:
        """Lists the images, as `open_lists`."""
        return open_lists(data.path or "", subset=data.subset)

    def open_val(self, data: Data, classes: tuple[str, ...] | None) -> Source | None:
        """Lists the images of val's list; that alone and its images have to be there.

        Raises:
            DatasetError: there is neither a list for val nor one for training, a class is none of
                the weights', or as `open_lists`.
            MachineError: as `open_lists`.
        """
        folder = ListFolder(data.path or "")
        folder.expect_any()
        if folder.val is None:
            return None
        meaning = _meaning(folder) if classes is None else _meaning_for(folder, classes)
        val = _listed(folder, folder.val, meaning)
        folder.expect_own_images(folder.val)
        lines: list[str] = []
        images = _images(folder.root, "val", val, lines)
        return Source(
            classes=meaning.classes,
            train=images,
            val=images,
            identity={"listing": listing_digest(folder.root, lines)},
            account=Account(taken=len(val.paths), notes=tuple(folder.notes)),
            places={"val": folder.val},
            sparse=True,
        )


SOURCE = Lists()


class _Listed(NamedTuple):
    """Holds the images of one list, each once.

    Attributes:
        name: the list's.
        paths: from the lists' folder.
        labels, lines, stamps: one per path; line in the list; size in bytes and time in ns.
    """

    name: str
    paths: list[str]
    labels: list[int]
    lines: list[int]
    stamps: list[tuple[int, int]]


def open_lists(path: str, *, subset: bool = False) -> Source:
    """Lists the images; one that is replaced by another of equal size and time goes unnoticed.

    Rows that say the same of an image again are noted, and it is taken once.

    Args:
        subset: classes may have no training images.

    Raises:
        DatasetError: no folder or no list for training; a list is none (`list_of`), images are
            missing or outside (`located`), values contradict each other or are no classes
            (`meaning_of`); an image has two labels or is in both lists, a class has no image.
        MachineError: something cannot be read.
    """
    folder = ListFolder(path)
    folder.expect_train()
    meaning = _meaning(folder)
    names = {"train": folder.expect_train()} | ({"val": folder.val} if folder.val else {})
    listed = {split: _listed(folder, name, meaning) for split, name in names.items()}
    _expect_apart(folder.root, *listed.values())
    if not subset:
        _expect_all(folder.root / names["train"], meaning, listed["train"].labels)
    lines: list[str] = []
    images = {split: _images(folder.root, split, found, lines) for split, found in listed.items()}
    return Source(
        classes=meaning.classes,
        train=images["train"],
        val=images.get("val"),
        identity={"listing": listing_digest(folder.root, lines)},
        account=list_account(folder, [found.paths for found in listed.values()]),
        places=names,
        sparse=subset,
    )


def _has_class_folders(folder: Path) -> bool:
    names = _folders(folder)
    splits = [*candidates(names, "train"), *candidates(names, "val")]
    return any(not is_hidden(name) for split in splits for name in _folders(folder / split))


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as found:
        return [entry.name for entry in found if is_folder(entry)]


def _meaning(folder: ListFolder) -> Meaning:
    values = [folder.values(name) for name in (folder.train, folder.val) if name]
    return meaning_of(values, folder.given, str(folder.root))


def _meaning_for(folder: ListFolder, classes: tuple[str, ...]) -> Meaning:
    assert folder.val is not None
    values = [folder.values(folder.val)]
    if values[0].names is None and folder.given is None and folder.train is not None:
        # It may say which class a number means.
        train = folder.values(folder.train)
        values += [train] if train.names is not None and train.numbers is not None else []
    return meaning_for(values, folder.given, classes, str(folder.root / folder.val))


def _room(folder: ListFolder, name: str) -> Room:
    count = len(folder.rows(name).paths)
    sampled = range(0, count, -(-count // _SAMPLED_ROWS))
    room = list_room(folder.root, folder.located(name, sampled).paths)
    return Room(room.bytes * count / len(sampled), count)


def _listed(folder: ListFolder, name: str, meaning: Meaning) -> _Listed:
    """Finds the images of a list, with their labels.

    Raises:
        DatasetError: as `open_lists`.
    """
    values = folder.values(name)
    labels = meaning.labels(values)
    paths = folder.located(name).paths
    stamps = sizes_and_times(values.found, folder.root, paths)
    lines = values.found.lines
    first: dict[str, int] = {}
    kept = _Listed(name, [], [], [], [])
    for row, path in enumerate(paths):
        if (before := first.setdefault(path, row)) == row:
            kept.paths.append(path)
            kept.labels.append(labels[row])
            kept.lines.append(lines[row])
            kept.stamps.append(stamps[row])
        elif labels[before] != labels[row]:
            raise DatasetError(
                f"{values.found.line(row)}: {plain(path)} is there twice, of class "
                f"{quoted(meaning.classes[labels[row]])} and in line {lines[before]} of class "
                f"{quoted(meaning.classes[labels[before]])}: remove one"
            )
    if len(kept.paths) < len(paths):
        folder.notes.append(
            f"{name} has {len(paths):,} rows, {len(paths) - len(kept.paths):,} of them again of an "
            "image with the same class: each image is taken once"
        )
    return kept


def _images(root: Path, split: str, listed: _Listed, lines: list[str]) -> Images:
    """Makes the images of one list, and adds one line per image to `lines`.

    The lines tell whether an image changed.
    """
    order = sorted(
        range(len(listed.paths)), key=lambda row: (listed.labels[row], listed.paths[row])
    )
    width = len(str(len(order)))
    names = []
    for number, row in enumerate(order):
        path = listed.paths[row]
        size, changed = listed.stamps[row]
        lines.append(f"{split}\0{path}\0{listed.labels[row]}\0{size}\0{changed}")
        # Two folders may have images of one name.
        names.append(f"{number:0{width}d}{posixpath.splitext(path)[1]}")
    labels = np.array([listed.labels[row] for row in order], np.int32)
    return files_as_images(root, [listed.paths[row] for row in order], tuple(names), labels)


def _expect_apart(root: Path, train: _Listed, val: _Listed | None = None) -> None:
    both = sorted(set(train.paths) & set(val.paths)) if val else []
    if both:
        assert val is not None
        more = f", as are {len(both) - 1:,} more images" if len(both) > 1 else ""
        raise DatasetError(
            f"{plain(both[0])} is in {train.name} and {val.name} of {root} (lines "
            f"{train.lines[train.paths.index(both[0])]} and "
            f"{val.lines[val.paths.index(both[0])]}){more}: remove one of the rows"
        )


def _expect_all(file: Path, meaning: Meaning, labels: Collection[int]) -> None:
    seen = set(labels)
    missing = [label for label in range(len(meaning.classes)) if label not in seen]
    if missing:
        numbered = not meaning.of_name
        named = [str(n) if numbered else plain(meaning.classes[n]) for n in missing[:_NAMED]]
        some = ", ".join(named) + (", ..." if len(missing) > _NAMED else "")
        raise DatasetError(
            f"{file} has no image of {len(missing)} of {len(meaning.classes)} classes "
            f"({'label' if numbered else 'class'} {some}): add some, or set data.subset to true to "
            "go without"
        )
