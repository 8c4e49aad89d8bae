"""Reading TIFF by our rules: libtiff, in Pillow, unpacks bytes; what they mean is decided here.

OpenCV multiplies colours with alpha, which cannot be undone, and reads planes of 16 bits as if they
were interleaved. Pillow reads other planes wrong, has no 16-bit grey with alpha, and cuts 16-bit
grey off at 255. What is packed as JPEG or fax is read by Pillow, which is right there.

Letters: H, W pixels, C samples a pixel.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from mixnet_core.data.tiff_header import (
    ASIDE,
    ASSOCIATED,
    COLOURS,
    Photometric,
    Tag,
    TiffHeader,
)

# None, LZW, deflate twice, PackBits, LZMA, Zstandard: bytes in, the same bytes out.
_LOSSLESS = frozenset((1, 5, 8, 32_773, 32_946, 34_925, 50_000))
# Of what is packed otherwise libtiff never looks at the predictor: the samples are plain.
_PREDICTED = _LOSSLESS - {1, 32_773}
# Which of columns and rows an orientation counts backwards, after what lies aside is transposed.
_BACKWARDS = {2: (-1, 1), 3: (-1, -1), 4: (1, -1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)}


def tiff_pixels(content: bytes, header: TiffHeader) -> NDArray[np.uint8]:
    """Decodes the first picture to (H, W, 3): plain colours, of more than 8 bits the upper 8.

    Raises:
        ValueError: it is cut off or damaged, or packed in a way that is not read.
        Exception: whatever Pillow stumbles over.
    """
    packing = header.values.get(Tag.COMPRESSION, (1,))[0]
    if packing in _LOSSLESS and header.photometric != Photometric.YCBCR:
        return _turned(_as_rgb(_samples(content, header), header), header.orientation)
    if header.bits > 8 or header.planar or (header.big and not header.little):
        raise ValueError(
            f"TIFF of {header.bits} bits a sample, packed as {packing}: save it without compression"
        )
    with Image.open(io.BytesIO(content), formats=["TIFF"]) as image:
        if sorted(image.size) != sorted((header.width, header.height)):
            raise ValueError("TIFF whose tags contradict each other")
        # Pillow turns it by itself.
        image.load()
        return np.array(image.convert("RGB"))


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation in ASIDE:
        pixels = pixels.transpose(1, 0, 2)
    across, down = _BACKWARDS.get(orientation, (1, 1))
    return np.ascontiguousarray(pixels[::down, ::across])


def _as_rgb(samples: NDArray[np.unsignedinteger[Any]], header: TiffHeader) -> NDArray[np.uint8]:
    colours = samples[..., : COLOURS[Photometric(header.photometric)]]
    most = (1 << header.bits) - 1
    if header.photometric == Photometric.PALETTE:
        return _colour_map(header)[colours[..., 0]]
    if header.photometric == Photometric.WHITE_IS_ZERO:
        colours = colours.dtype.type(most) - colours
    if next((kind for kind in header.extra if kind), 0) == ASSOCIATED:
        alpha = samples[..., [colours.shape[2] + header.extra.index(ASSOCIATED)]].astype(np.int64)
        plain = (colours.astype(np.int64) * most + alpha // 2) // np.maximum(alpha, 1)
        colours = np.where(alpha, np.minimum(plain, most), 0).astype(samples.dtype)
    eight = _to_8_bits(colours, header.bits)
    if header.photometric == Photometric.CMYK:
        size = (eight.shape[1], eight.shape[0])
        return np.array(Image.frombytes("CMYK", size, eight.tobytes()).convert("RGB"))
    return np.broadcast_to(eight, (*eight.shape[:2], 3))


def _to_8_bits(samples: NDArray[np.unsignedinteger[Any]], bits: int) -> NDArray[np.uint8]:
    """Takes of more than 8 bits the upper 8; fewer are stretched, so that white is white."""
    # The most frequent ones are large, too.
    if bits in (8, 16):
        return (samples >> (bits - 8)).astype(np.uint8)
    every, most = np.arange(1 << bits), (1 << bits) - 1
    # Of more than 8 they are brought to 16 first.
    table = (every * 65_535 + most // 2) // most >> 8 if bits > 8 else every * 255 // most
    return table.astype(np.uint8)[samples]


def _colour_map(header: TiffHeader) -> NDArray[np.uint8]:
    colours = np.array(header.values.get(Tag.COLOUR_MAP, ()), np.uint16)
    if header.bits > 8 or len(colours) != 3 << header.bits:
        raise ValueError(f"TIFF of {header.bits}-bit indices into {len(colours) // 3} colours")
    # Some programs write 8 bits where 16 belong.
    upper = colours >> 8 if colours.max() > 255 else colours
    return np.ascontiguousarray(upper.astype(np.uint8).reshape(3, -1).T)


class _Layout(NamedTuple):
    """Where the packed blocks of a picture are."""

    offsets: Sequence[int]
    sizes: Sequence[int]
    block_width: int
    block_height: int
    tiled: bool


def _samples(content: bytes, header: TiffHeader) -> NDArray[np.unsignedinteger[Any]]:
    """Unpacks (H, W, C) samples as they are stored."""
    predictor = _predictor(header)
    if predictor not in (1, 2) or (predictor == 2 and header.bits not in (8, 16)):
        raise ValueError(f"TIFF with predictor {predictor} of {header.bits} bits")
    layout = _layout(header)
    planes = header.channels if header.planar else 1
    blocks = len(layout.offsets) // planes
    per_pixel = header.channels // planes
    found = []
    for plane in range(planes):
        some = slice(plane * blocks, (plane + 1) * blocks)
        part = layout._replace(offsets=layout.offsets[some], sizes=layout.sizes[some])
        rows = _numbers(_unpacked(content, header, part, per_pixel), header, per_pixel)
        if predictor == 2:
            mask = (1 << header.bits) - 1
            for left in range(0, header.width, layout.block_width):
                block = rows[:, left : left + layout.block_width]
                # Differences are of whole samples, and wrap around.
                block[:] = np.cumsum(block, axis=1, dtype=np.uint64) & np.uint64(mask)
        found.append(rows)
    return np.concatenate(found, axis=2)


def _predictor(header: TiffHeader) -> int:
    packing = header.values.get(Tag.COMPRESSION, (1,))[0]
    return header.values.get(Tag.PREDICTOR, (1,))[0] if packing in _PREDICTED else 1


def _numbers(
    rows: NDArray[np.uint8], header: TiffHeader, per_pixel: int
) -> NDArray[np.unsignedinteger[Any]]:
    """Turns (H, bytes) into (H, W, samples)."""
    count = header.width * per_pixel
    numbers: NDArray[np.unsignedinteger[Any]] = rows
    if header.bits == 16:
        numbers = rows.view("<u2" if header.little else ">u2").astype(np.uint16, copy=False)
    elif header.bits != 8:
        bits = np.unpackbits(rows, axis=1, count=count * header.bits)
        places = bits.reshape(len(rows), count, header.bits)
        numbers = np.zeros((len(rows), count), np.uint16)
        for place in range(header.bits):
            numbers = numbers << np.uint16(1) | places[..., place]
    return numbers.reshape(len(rows), header.width, per_pixel)


def _layout(header: TiffHeader) -> _Layout:
    values = header.values
    tiled = Tag.TILES in values
    offsets, sizes = (Tag.TILES, Tag.TILE_BYTES) if tiled else (Tag.STRIPS, Tag.STRIP_BYTES)
    if not tiled:
        rows = values.get(Tag.ROWS_PER_STRIP, (header.height,))[0]
        block = header.width, max(1, min(rows, header.height))
    else:
        block = values.get(Tag.TILE_WIDTH, (0,))[0], values.get(Tag.TILE_HEIGHT, (0,))[0]
    if (
        not all(block)
        or not values.get(offsets)
        or len(values.get(sizes, ())) < len(values[offsets])
    ):
        raise ValueError("TIFF without a list of where its pixels are")
    # Rounded up to 16 a side, a tile is no larger than the picture by more.
    if block[0] > header.width + 4096 or block[1] > header.height + 4096:
        raise ValueError(f"TIFF of tiles of {block[0]} x {block[1]} pixels")
    return _Layout(values[offsets], values[sizes], *block, tiled)


class _Bytes(TiffImageFile):
    """Holds bytes as grey pixels: they may be more than the pixels that Pillow thinks safe."""

    def load_prepare(self) -> None:
        ImageFile.load_prepare(self)


def _unpacked(
    content: bytes, header: TiffHeader, layout: _Layout, per_pixel: int
) -> NDArray[np.uint8]:
    """Has libtiff unpack the blocks as if each byte was a grey pixel: (H, bytes in a row)."""

    def bytes_across(pixels: int) -> int:
        return (pixels * per_pixel * header.bits + 7) // 8

    width = bytes_across(header.width)
    fields: dict[int, Sequence[int]] = {
        Tag.WIDTH: [width],
        Tag.HEIGHT: [header.height],
        Tag.BITS: [8],
        Tag.COMPRESSION: header.values.get(Tag.COMPRESSION, (1,)),
        Tag.PHOTOMETRIC: [Photometric.BLACK_IS_ZERO],
        Tag.FILL_ORDER: header.values.get(Tag.FILL_ORDER, (1,)),
        Tag.CHANNELS: [1],
    }
    if layout.tiled:
        fields |= {Tag.TILE_WIDTH: [bytes_across(layout.block_width)]}
        fields |= {Tag.TILE_HEIGHT: [layout.block_height]}
        fields |= {Tag.TILES: layout.offsets, Tag.TILE_BYTES: layout.sizes}
    else:
        fields |= {Tag.ROWS_PER_STRIP: [layout.block_height]}
        fields |= {Tag.STRIPS: layout.offsets, Tag.STRIP_BYTES: layout.sizes}
    content += bytes(len(content) % 2)
    at = len(content)
    grey = b"II*\0" + struct.pack("<I", at) + content[8:] + _directory(fields, at)
    with _Bytes(io.BytesIO(grey)) as image:
        image.load()
        return np.array(image).reshape(header.height, width)


def _directory(fields: dict[int, Sequence[int]], at: int) -> bytes:
    """Writes a directory of 32-bit numbers that will stand at this place."""
    outside_at = at + 2 + 12 * len(fields) + 4
    entries, outside = b"", b""
    for tag, values in sorted(fields.items()):
        packed = np.array(values, "<u4").tobytes()
        if len(values) > 1:
            packed, outside = struct.pack("<I", outside_at + len(outside)), outside + packed
        entries += struct.pack("<HHI", tag, 4, len(values)) + packed
    return struct.pack("<H", len(fields)) + entries + bytes(4) + outside
