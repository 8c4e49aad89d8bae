"""Images that somebody gives one by one: files, and pictures in memory, read as evaluation does.

Letters: H, W pixels of an image.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixnet_core.data.decoding import plain_colours
from mixnet_core.data.formats import HEAD_BYTES, format_of
from mixnet_core.data.inspection import FORMATS, Unusable, inspected
from mixnet_core.data.pixels import Pixels, decoded
from mixnet_core.data.refused_formats import why_refused
from mixnet_core.errors import DatasetError, InputError

GivenImage = str | PathLike[str] | Image.Image | NDArray[np.uint8]
"""A file's path, Pillow's image, or RGB pixels (H, W, 3)."""

# What is larger is no photograph, and would be read as a whole.
MOST_BYTES = 1 << 30
LINK_TO_NOTHING, NOTHING = "a link that leads nowhere", "there is no such file"
_NO_FILE = "it is no regular file"
# What files are that are no pictures shows in so many.
_LOOKED_AT = 512


@dataclass(frozen=True, eq=False)
class GivenImages:
    """Holds images by position; none of them has a label that is known.

    Attributes:
        read: reads each, (H, W, 3) uint8 RGB; may be called in any thread.
        unreadable: position -> why it cannot be read, of those that were tried.
    """

    read: Sequence[Callable[[], Pixels]]
    unreadable: dict[int, str] = field(default_factory=dict)

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """Returns (N,) zeros: evaluation counts nothing of them."""
        return np.zeros(len(self.read), np.int32)

    @property
    def positions(self) -> NDArray[np.int32]:
        """Returns the positions of all images: (N,)."""
        return np.arange(len(self.read), dtype=np.int32)


def read_file(path: str) -> Pixels:
    """Reads a picture's file by the rule of `data.decoding`: (H, W, 3).

    Raises:
        DatasetError: it cannot be used; the message is the reason alone, in a few words.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode):
            # A pipe's end would be waited for.
            raise DatasetError("it is a folder" if stat.S_ISDIR(status.st_mode) else _NO_FILE)
        if status.st_size > MOST_BYTES:
            raise DatasetError(f"the file is larger than {MOST_BYTES:,} bytes")
        with open(path, "rb") as file:  # noqa: PTH123
            head = file.read(_LOOKED_AT)
            # By its name too: a camera's own file would give its preview.
            found = format_of(head[:HEAD_BYTES], path)
            if found not in FORMATS:
                raise DatasetError(why_refused(head, found) if head else "the file is empty")
            content = head + file.read()
    except FileNotFoundError as error:
        is_link = os.path.islink(path)  # noqa: PTH114
        raise DatasetError(LINK_TO_NOTHING if is_link else NOTHING) from error
    except OSError as error:
        raise DatasetError(error.strerror or str(error)) from error
    try:
        return decoded(content)
    except ValueError as error:
        raise DatasetError(_reason(content, error)) from error


def given_one_by_one(images: GivenImage | Iterable[GivenImage]) -> Iterator[GivenImage]:
    """Takes one image or many, and (N, H, W, 3) pixels too, as many of one each.

    Raises:
        InputError: it is nothing of the kind.
    """
    if isinstance(images, str | PathLike | Image.Image):
        yield images
    elif isinstance(images, np.ndarray):
        yield from images if images.ndim == 4 else (images,)
    elif isinstance(images, Iterable):
        yield from images
    else:
        raise InputError(
            f"got {type(images).__name__}: expected images as paths, Pillow's, or uint8 arrays "
            "(H, W, 3) or (N, H, W, 3)"
        )


def reader_of(image: GivenImage) -> Callable[[], Pixels]:
    """Returns what reads an image.

    Raises:
        InputError: it is no path, none of Pillow's and no pixels; or pixels that are not uint8 RGB
            or grey.
    """
    if isinstance(image, str | PathLike):
        return partial(read_file, fspath(image))
    if isinstance(image, Image.Image):
        return partial(_of_pillow, image)
    if isinstance(image, np.ndarray):
        return partial(_itself, _rgb(image))
    raise InputError(
        f"got {type(image).__name__} for an image: expected a path, Pillow's image, or a uint8 "
        "array (H, W, 3)"
    )


def name_of(image: GivenImage, position: int) -> str:
    """Returns an image's path, or which one it is, counted from 0."""
    return fspath(image) if isinstance(image, str | PathLike) else f"image {position}"


def _rgb(image: NDArray[Any]) -> Pixels:
    shape = image.shape
    is_grey = image.ndim == 2
    if image.dtype != np.uint8 or not (is_grey or (image.ndim == 3 and shape[2] == 3)):
        raise InputError(
            f"got an array {shape} of {image.dtype} for an image: expected uint8 (H, W, 3), RGB, "
            "or (H, W), grey; 0 to 255, as read, not normalised"
        )
    if 0 in shape:
        raise InputError(f"got an array {shape} for an image: it has no pixels")
    return np.repeat(image[..., None], 3, axis=2) if is_grey else np.ascontiguousarray(image)


def _itself(image: Pixels) -> Pixels:
    return image


def _of_pillow(image: Image.Image) -> Pixels:
    try:
        if 0 in image.size:
            raise DatasetError("it has no pixels")
        # Its notes are somebody's, and are changed on the way.
        return plain_colours(image.copy())
    except (OSError, SyntaxError) as error:
        raise DatasetError(" ".join(str(error).split()) or type(error).__name__) from error


def _reason(content: bytes, error: ValueError) -> str:
    """Says why a file does not decode, where looking into it tells more than decoding does."""
    try:
        inspected(content)
    except Unusable as found:
        return str(found)
    return str(error)
