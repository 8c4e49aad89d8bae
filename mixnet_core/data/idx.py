"""IDX, the format of MNIST and its successors: a magic number, sizes, then unsigned bytes."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixnet_core.errors import DatasetError
from mixnet_core.storage.files import os_errors_explained

_UNSIGNED_BYTE = 0x08


def decompressed(content: bytes, where: str) -> bytes:
    """Decompresses the content of a gzip file.

    Args:
        where: path or URL, named in the error.

    Raises:
        DatasetError: it is no complete gzip file.
    """
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"{where} is not a complete gzip file ({error}): replace it with a fresh copy"
        ) from error


def read_idx(path: Path, dimensions: int) -> tuple[NDArray[np.uint8], str]:
    """Reads the array in an IDX file; one whose name ends in .gz is decompressed first.

    Args:
        dimensions: 1 for labels (N,), 3 for images (N, height, width).

    Returns:
        The array, and the hex sha256 of the file's decompressed content.

    Raises:
        DatasetError: it is not an IDX file of unsigned bytes with so many dimensions, a size is 0,
            or its length does not fit its header.
        MachineError: it cannot be read.
    """
    with os_errors_explained(path, "read"):
        content = path.read_bytes()
    if path.suffix == ".gz":
        content = decompressed(content, str(path))
    header = 4 + 4 * dimensions
    magic = struct.pack(">BBBB", 0, 0, _UNSIGNED_BYTE, dimensions)
    if content[:4] != magic or len(content) < header:
        raise DatasetError(
            f"{path} starts with {content[:4].hex() or 'nothing'}, expected {magic.hex()} and "
            f"{dimensions} sizes: it is not an IDX file of {dimensions}-dimensional bytes"
        )
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if 0 in shape:
        raise DatasetError(f"{path} has shape {shape}, expected no size 0: it holds no images")
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise DatasetError(
            f"{path} has {len(content)} bytes, expected {expected} for its shape {shape}: "
            "replace it with a complete copy"
        )
    array = np.frombuffer(content, np.uint8, offset=header).reshape(shape)
    return array, hashlib.sha256(content).hexdigest()
