"""Reading images for training and evaluation: of a prepared dataset in every layout, or given."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.given import GivenImages
from mixnet_core.data.index import Index
from mixnet_core.data.pixels import Pixels, decoded
from mixnet_core.errors import DatasetError

ImageSet = Index | GivenImages
"""What evaluation reads: images by their positions, with a label each."""

Content = Callable[[], bytes]
"""Reads, or has read, one image's file; may be called in any thread.

Raises DatasetError where it is missing or has another size than the index says.
"""


def contents(index: Index, order: NDArray[np.integer[Any]]) -> Generator[Content, None, None]:
    """Yields the files at these positions, in this order; closing it ends what reads ahead.

    Raises:
        IntegrityError, MachineError: as `mindrecord.record_contents`, where there are shards.
    """
    if index.shards:
        # MindSpore, which takes seconds to import, reads these only.
        from mixnet_core.data.mindrecord import record_contents

        yield from record_contents(index, order)
        return
    for position in order.tolist():
        yield partial(_read, index, position)


def pixels(
    images: ImageSet, order: NDArray[np.integer[Any]]
) -> Generator[Callable[[], Pixels], None, None]:
    """Yields what reads and decodes the images at these positions, in this order.

    Each may be called in any thread; it raises DatasetError or ValueError where it cannot be read.

    Raises:
        IntegrityError, MachineError: as `contents`.
    """
    if isinstance(images, GivenImages):
        for position in order.tolist():
            yield images.read[position]
        return
    for content in contents(images, order):
        yield partial(_decoded, content)


def cannot_be_read(images: ImageSet, position: int, error: Exception) -> None:
    """Notes of a given image that it cannot be read; of a prepared dataset it ends the reading.

    Raises:
        DatasetError: it is a prepared dataset's, whose images were all checked.
    """
    reason = " ".join(str(error).split())
    if isinstance(images, GivenImages):
        images.unreadable[position] = reason
        return
    raise DatasetError(
        f"cannot read {images.paths[position]} of {images.root} ({reason}): run `mixnet prepare` "
        "again to have every image checked"
    ) from error


def _decoded(content: Content) -> Pixels:
    return decoded(content())


def _read(index: Index, position: int) -> bytes:
    path = index.root / index.paths[position]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(error.strerror or str(error)) from error
    if index.sizes is not None and len(content) != index.sizes[position]:
        raise DatasetError(f"it has {len(content)} bytes, not {index.sizes[position]} as prepared")
    return content
