"""Which files of a folder are images of a dataset: their content decides, not their names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mixnet_core.data.account import Tally
from mixnet_core.data.file_images import expect_usable
from mixnet_core.data.formats import HEAD_BYTES, format_of
from mixnet_core.data.inspection import FORMATS
from mixnet_core.data.refused_formats import why_refused
from mixnet_core.data.split_folders import expect_whole
from mixnet_core.errors import DatasetError, UnusableImage
from mixnet_core.storage.files import os_errors_explained

# Taken without a look into the file, which is read when it is prepared: a million looks take
# minutes on a network disk. Of any other name the first bytes decide.
KNOWN_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".mpo",
        ".tif",
        ".tiff",
    ]
)
# Icons that systems and sites leave in folders are nobody's training images.
_NO_PICTURES = frozenset((None, "ICO"))

# Classes are lines of a text file; lone surrogates stand for bytes that are not UTF-8.
UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Pictures:
    """Decides of each file of a split whether it is an image of the dataset.

    What it cannot take and must not leave out in silence is collected, so that all of it is told at
    once.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._taken = 0
        self._refused: list[UnusableImage] = []

    def takes(self, folder: Path, entry: os.DirEntry[str]) -> bool:
        """Tells whether a file is an image of the dataset; counts it either way.

        Raises:
            DatasetError: it is a broken link, or no file, or its name cannot be written.
            MachineError: it cannot be read.
        """
        expect_whole(folder, entry)
        suffix = _suffix(entry.name)
        if not entry.is_file():
            if suffix not in KNOWN_SUFFIXES:
                self._tally.leave("no regular files", entry.path)
                return False
            raise DatasetError(f"{folder / entry.name} is no regular file: remove or replace it")
        head = b"" if suffix in KNOWN_SUFFIXES else _head(entry)
        found = "" if suffix in KNOWN_SUFFIXES else format_of(head, entry.name)
        if found in _NO_PICTURES:
            self._tally.leave(no_picture(entry.name), entry.path)
            return False
        check_name(folder, entry.name)
        if entry.stat().st_size == 0:
            self._refuse("the file is empty", entry)
        elif found and found not in FORMATS:
            self._refuse(why_refused(head, found), entry)
        self._tally.take()
        self._taken += 1
        return True

    def is_one(self, entry: os.DirEntry[str]) -> bool:
        """Tells whether a file is a picture, without counting it."""
        return entry.is_file() and is_picture(entry)

    def expect_readable(self) -> None:
        """Makes sure that nothing was refused.

        Raises:
            DatasetError: pictures are empty or of a format that is not read here.
        """
        expect_usable(self._refused, self._taken)

    def _refuse(self, reason: str, entry: os.DirEntry[str]) -> None:
        self._refused.append(UnusableImage(entry.path, reason))


def is_picture(entry: os.DirEntry[str]) -> bool:
    """Tells of a regular file whether it is a picture, readable or not, by its name or first bytes.

    Raises:
        MachineError: it cannot be read.
    """
    return _suffix(entry.name) in KNOWN_SUFFIXES or (
        format_of(_head(entry), entry.name) not in _NO_PICTURES
    )


def no_picture(name: str) -> str:
    """Returns the reason for which a file that is no picture is left out."""
    suffix = _suffix(name)
    # What a name's end says is only for people; it may be anything.
    plain = suffix.isascii() and suffix[1:].isalnum()
    return f"no pictures ({suffix})" if plain else "no pictures"


def check_name(folder: Path, name: str) -> None:
    """Makes sure that a name can be a line of text.

    Raises:
        DatasetError: it cannot.
    """
    if UNUSABLE.search(name):
        raise DatasetError(
            f"{folder} has an entry named {name!r}, which is not plain UTF-8 text: rename it"
        )


def _head(entry: os.DirEntry[str]) -> bytes:
    """Reads the bytes of a regular file that tell its format."""
    with os_errors_explained(entry.path, "read"), Path(entry.path).open("rb") as file:
        return file.read(HEAD_BYTES)


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()
