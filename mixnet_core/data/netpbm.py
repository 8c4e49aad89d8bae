"""Reading the PBM, PGM, PPM family, whose samples may have any maximum up to 65,535.

OpenCV ignores the maximum, so that a camera's 4,095 became nearly black; Pillow cuts grey samples
of more than 8 bits off at 255 and needs a second for a photograph of them.

Letters: H, W pixels.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_START = re.compile(rb"P([1-6])(?=[\s#])")
_NUMBER = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])+([0-9]{1,10})")
_COMMENT = re.compile(rb"#[^\r\n]*")
_MOST = 65_535


class NetpbmHeader(NamedTuple):
    """Describes a file of the family.

    Attributes:
        kind: 1 to 6, as in P1 to P6.
        maximum: the sample that is white.
        at: where the samples begin.
    """

    kind: int
    width: int
    height: int
    maximum: int
    at: int

    @property
    def channels(self) -> int:
        return 3 if self.kind in (3, 6) else 1


def netpbm_header(content: bytes) -> NetpbmHeader:
    """Reads the header.

    Raises:
        ValueError: it is none, or is cut off.
    """
    start = _START.match(content)
    if not start:
        raise ValueError("not an image")
    kind, at = int(start[1]), start.end()
    numbers = []
    for _ in range(2 if kind in (1, 4) else 3):
        number = _NUMBER.match(content, at)
        if not number:
            raise ValueError("its header is cut off or damaged")
        numbers.append(int(number[1]))
        at = number.end()
    width, height, maximum = (*numbers, 1)[:3]
    if not width or not height or not 1 <= maximum <= _MOST:
        raise ValueError(f"its header says {width} x {height} pixels of at most {maximum}")
    return NetpbmHeader(kind, width, height, maximum, at + 1)


def netpbm_pixels(content: bytes) -> NDArray[np.uint8]:
    """Decodes a file to (H, W, 3), white at 255; grey is repeated.

    Raises:
        ValueError: it is cut off, or no such file.
    """
    header = netpbm_header(content)
    samples = _binary(content, header) if header.kind >= 4 else _text(content, header)
    shape = (header.height, header.width, header.channels)
    if header.kind in (1, 4):
        grey = np.where(samples, 0, 255).astype(np.uint8)
    else:
        grey = _to_8_bits(header.maximum)[np.minimum(samples, header.maximum)]
    return np.ascontiguousarray(np.broadcast_to(grey.reshape(shape), (*shape[:2], 3)))


def _to_8_bits(maximum: int) -> NDArray[np.uint8]:
    """Returns for every sample from 0 to the maximum what it is of 255.

    Of more than 8 bits, the upper 8 after it is brought to 16: 65,535 gives what a 16-bit PNG of
    the same samples does.
    """
    samples = np.arange(maximum + 1, dtype=np.int64)
    if maximum <= 255:
        return ((samples * 255 + maximum // 2) // maximum).astype(np.uint8)
    return ((samples * _MOST + maximum // 2) // maximum >> 8).astype(np.uint8)


def _binary(content: bytes, header: NetpbmHeader) -> NDArray[np.unsignedinteger[Any]]:
    row = header.width * header.channels
    if header.kind == 4:
        packed = _array(content, header, np.dtype(np.uint8), (row + 7) // 8).astype(np.uint8)
        return np.unpackbits(packed, axis=1, count=row)
    return _array(content, header, np.dtype(">u2" if header.maximum > 255 else np.uint8), row)


def _array(
    content: bytes, header: NetpbmHeader, dtype: np.dtype[np.unsignedinteger[Any]], row: int
) -> NDArray[np.unsignedinteger[Any]]:
    there = (len(content) - header.at) // dtype.itemsize
    if there < header.height * row:
        raise ValueError(f"cut off: {max(0, there):,} of its {header.height * row:,} samples")
    found = np.frombuffer(content, dtype, header.height * row, header.at)
    return found.reshape(header.height, row)


def _text(content: bytes, header: NetpbmHeader) -> NDArray[np.unsignedinteger[Any]]:
    text = _COMMENT.sub(b"", content[header.at :])
    count = header.width * header.height * header.channels
    # A digit is a pixel of P1, with or without space between them.
    words = list(b"".join(text.split())) if header.kind == 1 else text.split(None, count)[:count]
    words = words[:count]
    if len(words) < count:
        raise ValueError(f"cut off: {len(words):,} of its {count:,} samples")
    try:
        samples = np.array(words, np.int64)
    except (OverflowError, ValueError) as error:
        raise ValueError("a sample is no number") from error
    if header.kind == 1:
        samples -= ord("0")
    most = header.maximum
    if samples.min() < 0 or samples.max() > most:
        raise ValueError(f"a sample is not between 0 and {most}")
    return samples.astype(np.uint16)
