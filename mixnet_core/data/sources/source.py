"""The one shape that every source is opened into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Images:
    """The labelled images of one split, in an order that depends on nothing but the source.

    Attributes:
        names: file names with suffix, unique within a label.
        labels: (len(names),) int32.
        write: (position, target) -> hex sha256 of the image file that it put at `target`. Safe to
            call from several threads. Raises DatasetError for an image that cannot be decoded,
            MachineError for one that cannot be read, OSError where `target` cannot be written.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int32]
    write: Callable[[int, Path], str]


@dataclass(frozen=True, eq=False)
class Source:
    """Images to prepare.

    Attributes:
        identity: JSON; equal for equal images, different as soon as one of them changed.
        classes: names in label order, usable as folder names.
        val: None where the source has no validation split of its own.
        ignored_files: files beside the images that were left out.
    """

    identity: dict[str, Any]
    classes: tuple[str, ...]
    train: Images
    val: Images | None
    ignored_files: int = 0
