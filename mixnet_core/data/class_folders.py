"""Class folders on disk: `split/<class>/<image>`, listed without an image being decoded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixnet_core.data.account import HIDDEN, Tally
from mixnet_core.data.class_names import expect_distinct
from mixnet_core.data.file_images import files_as_images
from mixnet_core.data.pictures import Pictures, check_name, no_picture
from mixnet_core.data.source import Images
from mixnet_core.data.split_folders import expect_whole, is_folder, is_hidden
from mixnet_core.errors import DatasetError
from mixnet_core.storage.files import os_errors_explained


@dataclass(frozen=True)
class Listing:
    """Lists the images of one split in class and name order.

    Attributes:
        paths: from the source's folder. They are text: a million `Path`s take a minute.
        labels: one per path.
        lines: tell whether one of the files changed; see `stamp`.
    """

    paths: list[str]
    labels: list[int]
    lines: list[str]

    def as_images(self, root: Path) -> Images:
        """Returns the files as images, to be read below the source's folder."""
        names = tuple(path.rpartition("/")[2] for path in self.paths)
        return files_as_images(root, self.paths, names, np.array(self.labels, np.int32))


def class_names(split: Path) -> tuple[str, ...]:
    """Lists the names of the class folders of a split, sorted.

    Raises:
        DatasetError: there is none, one cannot be a line of text, two look alike, or one is a
            broken link.
    """
    every = entries(split)
    for entry in every:
        expect_whole(split, entry)
    names = tuple(entry.name for entry in every if is_folder(entry))
    if not names:
        flat = f"; it has {len(every):,} files beside each other" if every else ", it is empty"
        raise DatasetError(f"{split} has no class folders: expected {split}/<class>/<image>{flat}")
    for name in names:
        check_name(split, name)
    expect_distinct(names, str(split))
    return names


def listed_split(
    root: Path,
    split: str,
    split_classes: tuple[str, ...],
    labels: Mapping[str, int],
    tally: Tally,
) -> Listing:
    """Lists the images of a split.

    Args:
        root: the source's folder.
        split_classes: names of the folders to look into.
        labels: folder's name -> label.
        tally: is told of every file in the split's folder.

    Raises:
        DatasetError, MachineError: as `data.sources.image_folder`.
    """
    listing = Listing([], [], [])
    pictures = Pictures(tally)
    _account_beside(root / split, split, set(split_classes), tally, pictures)
    for name in sorted(split_classes, key=lambda name: (labels[name], name)):
        folder = root / split / name
        images = _images_of(folder, tally, pictures)
        if not images:
            raise DatasetError(
                f"{folder} has no images: add some or remove the folder{_instead(folder)}"
            )
        for entry in images:
            listing.paths.append(f"{split}/{name}/{entry.name}")
            listing.lines.append(stamp(entry, listing.paths[-1]))
        listing.labels.extend([labels[name]] * len(images))
    pictures.expect_readable()
    return listing


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Lists what is in a folder and not hidden, sorted by name, whatever the file system's order.

    Raises:
        MachineError: it cannot be read.
    """
    return [entry for entry in everything(folder) if not is_hidden(entry.name)]


def has_images(folder: Path) -> bool:
    """Tells whether a folder has an image that is not hidden; stops at the first.

    Raises:
        MachineError: it cannot be read.
    """
    pictures = Pictures(Tally(folder))
    with os_errors_explained(folder, "read"), os.scandir(folder) as found:
        return any(not is_hidden(entry.name) and pictures.is_one(entry) for entry in found)


def stamp(entry: os.DirEntry[str], path: str) -> str:
    """Returns a line that changes with the file, for `listing_digest`.

    Args:
        path: the file's, as the line says it.

    Raises:
        MachineError: the file cannot be looked at.
    """
    with os_errors_explained(entry.path, "read"):
        status = entry.stat()
    return f"{path}\0{status.st_size}\0{status.st_mtime_ns}"


def listing_digest(root: Path, lines: list[str]) -> str:
    """Returns a digest that changes when an image does.

    Args:
        root: the source's folder.
        lines: one per image (`stamp`).
    """
    # The folder counts too: two unpacked archives may share all sizes and times and still differ.
    folder = os.fsencode(root.resolve())
    return hashlib.sha256(b"\n".join((folder, *map(str.encode, lines)))).hexdigest()


def everything(folder: Path) -> list[os.DirEntry[str]]:
    """Lists what is in a folder, hidden or not, sorted by name.

    Raises:
        MachineError: it cannot be read.
    """
    with os_errors_explained(folder, "read"), os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def _account_beside(
    split: Path, name: str, classes: set[str], tally: Tally, pictures: Pictures
) -> None:
    """Counts what stands in a split's folder besides the class folders that are looked into."""
    for entry in everything(split):
        if is_hidden(entry.name):
            leave_hidden(entry, tally)
        elif is_folder(entry):
            if entry.name not in classes:
                tally.leave_all(f"in class folders of {name}/ without images", entry.path)
        elif pictures.is_one(entry):
            tally.leave(f"beside the class folders of {name}/", entry.path)
        else:
            tally.leave(no_picture(entry.name), entry.path)


def _images_of(folder: Path, tally: Tally, pictures: Pictures) -> list[os.DirEntry[str]]:
    images = []
    for entry in everything(folder):
        if is_hidden(entry.name):
            leave_hidden(entry, tally)
        elif is_folder(entry):
            raise DatasetError(
                f"{folder} has a folder {entry.name!r}: move its images up into the class, or give "
                "it a leading dot to leave it out"
            )
        elif pictures.takes(folder, entry):
            images.append(entry)
    return images


def leave_hidden(entry: os.DirEntry[str], tally: Tally) -> None:
    """Counts a hidden file, or all files in a hidden folder."""
    if is_folder(entry):
        tally.leave_all(HIDDEN, entry.path)
    else:
        tally.leave(HIDDEN, entry.path)


def _instead(folder: Path) -> str:
    files = entries(folder)
    return f" (it holds {len(files):,} other files, {files[0].name!r} ...)" if files else ""
