"""Reading the images' files for training and evaluation, in every layout of a prepared dataset."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.index import Index
from mixnet_core.errors import DatasetError

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


def _read(index: Index, position: int) -> bytes:
    path = index.root / index.paths[position]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(error.strerror or str(error)) from error
    if index.sizes is not None and len(content) != index.sizes[position]:
        raise DatasetError(f"it has {len(content)} bytes, not {index.sizes[position]} as prepared")
    return content
