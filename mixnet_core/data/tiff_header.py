"""What a TIFF says of its first picture: its directory, as far as decoding needs it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np


class Tag(IntEnum):
    """Names the numbers of the tags that are read."""

    SUBFILE = 254
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIPS = 273
    ORIENTATION = 274
    CHANNELS = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTES = 279
    PLANAR = 284
    PREDICTOR = 317
    COLOUR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILES = 324
    TILE_BYTES = 325
    SUB_DIRECTORIES = 330
    EXTRA = 338
    SAMPLE_FORMAT = 339
    DNG = 50_706


class Photometric(IntEnum):
    """Names what colours are."""

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3
    CMYK = 5
    YCBCR = 6


COLOURS = {
    Photometric.WHITE_IS_ZERO: 1,
    Photometric.BLACK_IS_ZERO: 1,
    Photometric.RGB: 3,
    Photometric.PALETTE: 1,
    Photometric.CMYK: 4,
    Photometric.YCBCR: 3,
}
ASSOCIATED, UNASSOCIATED = 1, 2
# Orientations of what lies on its side.
ASIDE = frozenset((5, 6, 7, 8))

_TAGS = frozenset(Tag)
# BYTE, SHORT, LONG, IFD, LONG8, IFD8: what these tags may be.
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_WORDS: dict[int, tuple[str, ...]] = {
    Photometric.WHITE_IS_ZERO: ("grey",),
    Photometric.BLACK_IS_ZERO: ("grey",),
    Photometric.PALETTE: ("palette",),
    Photometric.CMYK: ("cmyk",),
}
_RAW = frozenset((32_803, 34_892))
_NAMES = {4: "a mask", 8: "CIELAB", 9: "CIELAB", 10: "CIELAB", 32_844: "LogL", 32_845: "LogLuv"}
_KINDS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
_MOST_BITS = 16
# Red, green, blue, infrared and alpha are some; a satellite's bands are no picture.
_MOST_CHANNELS = 6


@dataclass(frozen=True)
class TiffHeader:
    """Describes a file's first picture.

    Attributes:
        bits: of a sample.
        photometric: what the colours are, by TIFF's numbers.
        extra: what each sample beyond the colours is, by TIFF's numbers.
        planar: whether each sample has a plane of its own.
        orientation: by TIFF's numbers; it says where the first row and column are, and is followed
            by OpenCV and Pillow where they leave EXIF's alone.
        little, big: the byte order; whether it is a BigTIFF.
        values: all integers of the directory, by tag.
    """

    width: int
    height: int
    bits: int
    photometric: int
    channels: int
    extra: tuple[int, ...]
    planar: bool
    orientation: int
    little: bool
    big: bool
    values: dict[int, tuple[int, ...]]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height after it is turned."""
        aside = self.orientation in ASIDE
        return (self.height, self.width) if aside else (self.width, self.height)

    @property
    def alpha(self) -> bool:
        return any(kind in (ASSOCIATED, UNASSOCIATED) for kind in self.extra)

    @property
    def words(self) -> list[str]:
        """What is unusual, as `inspection` notes it."""
        words = list(_WORDS.get(self.photometric, ()))
        return words + ["alpha"] * self.alpha + ["16-bit"] * (self.bits > 8)


def tiff_header(content: bytes) -> TiffHeader:
    """Reads the first picture's directory.

    Raises:
        ValueError: it is cut off, or its pixels are of a kind that is not read.
    """
    little, big = content[:2] == b"II", content[2:4] in (b"+\0", b"\0+")
    values = dict(_integers(content, "<" if little else ">", big))

    def one(tag: int, default: int) -> int:
        return values.get(tag, (default,))[0]

    photometric = one(Tag.PHOTOMETRIC, Photometric.WHITE_IS_ZERO)
    # What a camera's own file shows first is the preview.
    preview = one(Tag.SUBFILE, 0) & 1 and Tag.SUB_DIRECTORIES in values
    if preview or Tag.DNG in values or photometric in _RAW:
        raise ValueError("a camera's raw file: develop it to JPEG, PNG or 8-bit TIFF")
    width, height, channels = one(Tag.WIDTH, 0), one(Tag.HEIGHT, 0), one(Tag.CHANNELS, 1)
    if not width or not height:
        raise ValueError(f"TIFF of {width} x {height} pixels")
    if photometric not in COLOURS:
        name = _NAMES.get(photometric, f"of colour kind {photometric}")
        raise ValueError(f"TIFF, {name}: convert it to RGB")
    formats, bits = set(values.get(Tag.SAMPLE_FORMAT, (1,))), set(values.get(Tag.BITS, (1,)))
    kind = next((name for code, name in _KINDS.items() if code in formats), None)
    if kind:
        # They have no white: any choice would be a guess.
        raise ValueError(f"TIFF of {kind} numbers: convert it to 8 or 16 bits, unsigned")
    if len(bits) > 1 or not 0 < max(bits) <= _MOST_BITS:
        depths = ", ".join(map(str, sorted(bits)))
        raise ValueError(f"TIFF of {depths} bits a sample: convert it to 8 or 16 bits")
    colours = COLOURS[Photometric(photometric)]
    if channels > _MOST_CHANNELS:
        raise ValueError(f"TIFF of {channels} samples a pixel: convert it to RGB")
    if channels < colours:
        raise ValueError(f"TIFF of {channels} samples a pixel, expected {colours} colours")
    said = values.get(Tag.EXTRA, ())
    return TiffHeader(
        width=width,
        height=height,
        bits=bits.pop(),
        photometric=photometric,
        channels=channels,
        extra=(*said, *[0] * (channels - colours))[: channels - colours],
        planar=one(Tag.PLANAR, 1) == 2 and channels > 1,
        orientation=one(Tag.ORIENTATION, 1),
        little=little,
        big=big,
        values=values,
    )


def _integers(
    content: bytes, order: Literal["<", ">"], big: bool
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yields the integers of the first directory, by tag."""
    room, entry, kind_of_count = (8, 20, "Q") if big else (4, 12, "I")
    try:
        (at,) = struct.unpack_from(order + kind_of_count, content, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, at)
        first = at + (8 if big else 2)
        if first + count * entry > len(content):
            raise ValueError("TIFF that is cut off: its directory is not there")
        seen = set()
        for place in range(first, first + count * entry, entry):
            tag, kind, number = struct.unpack_from(f"{order}HH{kind_of_count}", content, place)
            if tag not in _TAGS or tag in seen or kind not in _INTEGERS or not number:
                continue
            seen.add(tag)
            dtype = np.dtype(_INTEGERS[kind]).newbyteorder(order)
            where = place + entry - room
            if number * dtype.itemsize > room:
                (where,) = struct.unpack_from(order + kind_of_count, content, where)
            if where + number * dtype.itemsize > len(content):
                raise ValueError("TIFF that is cut off: a tag's values are not there")
            yield tag, tuple(np.frombuffer(content, dtype, number, where).tolist())
    except (struct.error, OverflowError) as error:
        raise ValueError("TIFF that is cut off: its directory is not there") from error
