"""Grey arrays as PNG files whose bytes are the same on every machine.

Compressed bytes differ between zlib, zlib-ng and their versions, so a dataset's fingerprint would
depend on the machine that prepared it. These files store their pixels uncompressed instead: for
images of 28 x 28 they take the same one disk block.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.source import ImageFile, Images

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ZLIB_HEADER = b"\x78\x01"
_STORED_BLOCK_LIMIT = 0xFFFF


def grey_png(plane: NDArray[np.uint8]) -> bytes:
    """Returns (height, width) uint8 as the content of an 8-bit grey PNG file."""
    height, width = plane.shape
    # Each row is preceded by its filter type: 0, none.
    rows = np.pad(plane, ((0, 0), (1, 0))).tobytes()
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
            _chunk(b"IDAT", _stored(rows)),
            _chunk(b"IEND", b""),
        )
    )


def grey_images(pixels: NDArray[np.uint8], labels: NDArray[np.int32]) -> Images:
    """Makes images of grey arrays, named by their position.

    Args:
        pixels: (N, height, width) uint8.
        labels: (N,) int32.
    """
    digits = len(str(len(pixels) - 1))

    def write(position: int, target: Path) -> ImageFile:
        content = grey_png(pixels[position])
        target.write_bytes(content)
        return ImageFile(hashlib.sha256(content).hexdigest(), len(content))

    return Images(tuple(f"{i:0{digits}d}.png" for i in range(len(pixels))), labels, write)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _stored(content: bytes) -> bytes:
    """Returns a zlib stream of stored blocks (RFC 1951, 3.2.4)."""
    parts = [_ZLIB_HEADER]
    for start in range(0, len(content), _STORED_BLOCK_LIMIT):
        block = content[start : start + _STORED_BLOCK_LIMIT]
        last = start + _STORED_BLOCK_LIMIT >= len(content)
        parts.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    parts.append(struct.pack(">I", zlib.adler32(content)))
    return b"".join(parts)
