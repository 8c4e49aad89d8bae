"""The one shape that every source is opened into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class ImageFile(NamedTuple):
    """An image's file as it is: hex sha256 and size."""

    sha256: str
    bytes: int


@dataclass(frozen=True, eq=False)
class Files:
    """Images that are files already.

    Attributes:
        root: a folder.
        paths: from there, with slashes, one an image.
        check: position -> what its file is, found by reading and decoding it, or known already.
            Safe to call from several threads. Raises as `Images.write`.
    """

    root: Path
    paths: tuple[str, ...]
    check: Callable[[int], ImageFile]


@dataclass(frozen=True, eq=False)
class Images:
    """The labelled images of one split, in an order that depends on nothing but the source.

    Attributes:
        names: file names with suffix, unique within a label.
        labels: (len(names),) int32.
        write: (position, target) -> the file that it put at `target`. Safe to call from several
            threads. Raises DatasetError for an image that cannot be decoded, MachineError for one
            that cannot be read, OSError where `target` cannot be written.
        files: None where the source's images are not files of their own.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int32]
    write: Callable[[int, Path], ImageFile]
    files: Files | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """Images to prepare.

    Attributes:
        identity: JSON; equal for equal images, different as soon as one of them changed.
        classes: names in label order, usable as folder names.
        val: None where the source has no validation split of its own.
        ignored_files: files beside the images that were left out.
        sparse: classes may have no images.
    """

    identity: dict[str, Any]
    classes: tuple[str, ...]
    train: Images
    val: Images | None
    ignored_files: int = 0
    sparse: bool = False
