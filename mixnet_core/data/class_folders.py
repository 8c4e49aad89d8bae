"""Class folders on disk: `split/<class>/<image>`, listed without an image being read."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixnet_core.data.file_images import files_as_images
from mixnet_core.data.source import Images
from mixnet_core.errors import DatasetError
from mixnet_core.storage.files import os_errors_explained

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".tif", ".tiff", ".webp", ".gif", ".jp2")
)

# Classes are lines of a text file; lone surrogates stand for bytes that are not UTF-8.
UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Listing:
    """Lists the files of one split in class and name order.

    Attributes:
        paths: from the source's folder. They are text: a million `Path`s take a minute.
        labels: one per path.
        lines: tell whether one of the files changed; see `stamp`.
        ignored: how many other files there are.
    """

    paths: list[str]
    labels: list[int]
    lines: list[str]
    ignored: int

    def as_images(self, root: Path) -> Images:
        """Returns the files as images, to be read below the source's folder."""
        names = tuple(path.rpartition("/")[2] for path in self.paths)
        return files_as_images(root, self.paths, names, np.array(self.labels, np.int32))


def checked_root(path: str) -> Path:
    """Returns a path as a folder that has train/.

    Raises:
        DatasetError: it is none, or has none.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DatasetError(f"data.path {path} is no folder: expected one that has train/<class>/")
    if not (root / "train").is_dir():
        raise DatasetError(f"data.path {path} has no folder train/: expected train/<class>/")
    return root


def class_names(split: Path) -> tuple[str, ...]:
    """Lists the names of the class folders of a split, sorted.

    Raises:
        DatasetError: there is none, or one cannot be a line of text.
    """
    names = tuple(entry.name for entry in entries(split) if entry.is_dir())
    if not names:
        raise DatasetError(f"{split} has no class folders: expected {split}/<class>/<image>")
    for name in names:
        _check_name(split, name)
    return names


def listed_split(
    root: Path, split: str, split_classes: tuple[str, ...], classes: tuple[str, ...]
) -> Listing:
    """Lists the images of a split.

    Args:
        root: the source's folder.
        split_classes: names of the folders to look into.
        classes: names in label order; an image's label is its folder's position there.

    Raises:
        DatasetError, MachineError: as `data.sources.image_folder`.
    """
    paths: list[str] = []
    labels: list[int] = []
    lines: list[str] = []
    ignored = sum(not entry.is_dir() for entry in entries(root / split))
    for name in split_classes:
        folder = root / split / name
        every = entries(folder)
        images = [entry for entry in every if is_image(folder, entry)]
        if not images:
            raise DatasetError(
                f"{folder} has no images: add some or remove the folder (known suffixes: "
                f"{' '.join(sorted(IMAGE_SUFFIXES))})"
            )
        for entry in images:
            paths.append(f"{split}/{name}/{entry.name}")
            lines.append(stamp(entry, paths[-1]))
        labels += [classes.index(name)] * len(images)
        ignored += len(every) - len(images)
    return Listing(paths, labels, lines, ignored)


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Lists what is in a folder and not hidden, sorted by name, whatever the file system's order.

    Raises:
        MachineError: it cannot be read.
    """
    with os_errors_explained(folder, "read"), os.scandir(folder) as found:
        return sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)


def has_images(folder: Path) -> bool:
    """Tells whether a folder has an image that is not hidden; stops at the first.

    Raises:
        MachineError: it cannot be read.
    """
    with os_errors_explained(folder, "read"), os.scandir(folder) as found:
        return any(_has_suffix(entry) and not entry.name.startswith(".") for entry in found)


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


def is_image(folder: Path, entry: os.DirEntry[str]) -> bool:
    """Tells whether an entry of a folder has an image's suffix.

    Raises:
        DatasetError: it is a folder, a broken link, or its name cannot be written.
    """
    if entry.is_dir():
        raise DatasetError(
            f"{folder} has a folder {entry.name!r}: move its images up into the class, or give it "
            "a leading dot to leave it out"
        )
    if not _has_suffix(entry):
        return False
    _check_name(folder, entry.name)
    if not entry.is_file():
        raise DatasetError(
            f"{folder / entry.name} is a broken link or no regular file: remove or replace it"
        )
    return True


def _has_suffix(entry: os.DirEntry[str]) -> bool:
    return f".{entry.name.rpartition('.')[2].lower()}" in IMAGE_SUFFIXES


def listing_digest(root: Path, lines: list[str]) -> str:
    """Returns a digest that changes when an image does.

    Args:
        root: the source's folder.
        lines: one per image (`stamp`).
    """
    # The folder counts too: two unpacked archives may share all sizes and times and still differ.
    folder = os.fsencode(root.resolve())
    return hashlib.sha256(b"\n".join((folder, *map(str.encode, lines)))).hexdigest()


def _check_name(folder: Path, name: str) -> None:
    if UNUSABLE.search(name):
        raise DatasetError(
            f"{folder} has an entry named {name!r}, which is not plain UTF-8 text: rename it"
        )
