"""Writes pictures byte by byte, also such as no library writes; samples go in as they are to be.

Letters: H, W pixels, C channels.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.integer[Any]] | NDArray[np.floating[Any]]

PNG_START = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
# First row, row step, first column, column step of Adam7's passes.
_ADAM7 = (
    *((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4)),
    *((2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)),
)
# TIFF's types: code, and how struct writes one.
_TIFF_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 7: "B", 12: "d", 16: "Q"}


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(
    samples: Samples,
    depth: int,
    colour_type: int,
    *,
    before: bytes = b"",
    after: bytes = b"",
    interlaced: bool = False,
    idat_bytes: int = 1 << 20,
    size: tuple[int, int] | None = None,
) -> bytes:
    """A PNG of (H, W) or (H, W, C) samples.

    Args:
        before, after: chunks around the pixels.
        size: width and height that the header claims.
    """
    pixels = samples if samples.ndim == 3 else samples[..., None]
    height, width, _ = pixels.shape
    passes = _ADAM7 if interlaced else ((0, 1, 0, 1),)
    raw = b"".join(_png_rows(pixels[a::b, c::d], depth) for a, b, c, d in passes)
    packed = zlib.compress(raw)
    w, h = size or (width, height)
    return b"".join(
        (
            PNG_START,
            png_chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour_type, 0, 0, interlaced)),
            before,
            *(
                png_chunk(b"IDAT", packed[at : at + idat_bytes])
                for at in range(0, len(packed), idat_bytes)
            ),
            after,
            png_chunk(b"IEND", b""),
        )
    )


def _png_rows(pixels: Samples, depth: int) -> bytes:
    if 0 in pixels.shape:
        return b""
    rows = np.stack([_packed(row.reshape(-1), depth, ">") for row in pixels])
    # Each row is preceded by its filter type: 0, none.
    return np.pad(rows, ((0, 0), (1, 0))).tobytes()


def _packed(row: Samples, bits: int, order: str) -> NDArray[np.uint8]:
    """Samples side by side in so many bits each, the row filled up to whole bytes."""
    if row.dtype.kind == "f" or bits in (32, 64):
        return np.frombuffer(row.astype(row.dtype.newbyteorder(order)).tobytes(), np.uint8)
    if bits == 16:
        return np.frombuffer(row.astype(f"{order}u2").tobytes(), np.uint8)
    wide = row.astype(np.uint32)[:, None] >> np.arange(bits - 1, -1, -1, dtype=np.uint32)
    return np.packbits((wide & 1).astype(np.uint8).reshape(-1))


def tiff(
    samples: Samples,
    bits: int,
    photometric: int,
    *,
    order: str = "<",
    big: bool = False,
    extra: Sequence[int] = (),
    planar: bool = False,
    tile: int | None = None,
    rows_per_strip: int | None = None,
    deflated: bool = False,
    differences: bool = False,
    sample_format: int | None = None,
    tags: Sequence[tuple[int, int, Sequence[Any]]] = (),
    more_pages: Sequence[Samples] = (),
) -> bytes:
    """A TIFF of (H, W) or (H, W, C) samples.

    Args:
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr.
        order: "<" little, ">" big endian.
        extra: what each channel beyond the colours is: 0 nothing said, 1 associated, 2 unassociated
            alpha.
        tile: side of tiles instead of strips.
        differences: of 8 or 16 bits, to the pixel before, are stored (predictor 2).
        sample_format: 1 unsigned, 2 signed, 3 floating-point; None: not said.
        tags: more of them: number, type, values; they replace those of the same number.
        more_pages: pages after the first, with the same tags.
    """
    word = "Q" if big else "I"
    start = struct.pack(f"{order}2sH", b"II" if order == "<" else b"MM", 43 if big else 42)
    content = bytearray(start + (struct.pack(f"{order}HHQ", 8, 0, 0) if big else bytes(4)))
    link = 8 if big else 4
    for page in (samples, *more_pages):
        pixels = page if page.ndim == 3 else page[..., None]
        height, width, channels = pixels.shape
        blocks = _tiff_blocks(pixels, bits, order, planar, tile, rows_per_strip, differences)
        stored = [zlib.compress(block) if deflated else block for block in blocks]
        offsets = []
        for block in stored:
            offsets.append(len(content))
            content += block + bytes(len(block) % 2)
        fields: dict[int, tuple[int, Sequence[Any]]] = {
            256: (4, [width]),
            257: (4, [height]),
            258: (3, [bits] * channels),
            259: (3, [8 if deflated else 1]),
            262: (3, [photometric]),
            277: (3, [channels]),
            284: (3, [2 if planar else 1]),
        }
        sizes = [len(block) for block in stored]
        where = 16 if big else 4
        if tile:
            fields |= {322: (4, [tile]), 323: (4, [tile]), 324: (where, offsets)}
            fields |= {325: (where, sizes)}
        else:
            fields |= {273: (where, offsets), 278: (4, [rows_per_strip or height])}
            fields |= {279: (where, sizes)}
        if extra:
            fields[338] = (3, list(extra))
        if differences:
            fields[317] = (3, [2])
        if sample_format:
            fields[339] = (3, [sample_format] * channels)
        fields |= {number: (kind, values) for number, kind, values in tags}
        struct.pack_into(f"{order}{word}", content, link, len(content))
        link = _tiff_directory(content, fields, order, big)
    return bytes(content)


def _tiff_blocks(
    pixels: Samples,
    bits: int,
    order: str,
    planar: bool,
    tile: int | None,
    rows: int | None,
    differences: bool,
) -> Iterable[bytes]:
    height, width, channels = pixels.shape
    planes = [pixels[..., [c]] for c in range(channels)] if planar else [pixels]
    for plane in planes:
        down, across = (tile, tile) if tile else (rows or height, width)
        for top in range(0, height, down):
            for left in range(0, width, across):
                block = plane[top : top + down, left : left + across]
                if tile:
                    missing = (tile - block.shape[0], tile - block.shape[1])
                    block = np.pad(block, ((0, missing[0]), (0, missing[1]), (0, 0)))
                if differences:
                    block = np.diff(block, axis=1, prepend=block.dtype.type(0))
                yield b"".join(_packed(row.reshape(-1), bits, order).tobytes() for row in block)


def _tiff_directory(
    content: bytearray, fields: dict[int, tuple[int, Sequence[Any]]], order: str, big: bool
) -> int:
    """Appends a directory; returns where the next one's offset has to be written."""
    room = 8 if big else 4
    at = len(content)
    count_bytes, entry_bytes = (8, 20) if big else (2, 12)
    heap = at + count_bytes + entry_bytes * len(fields) + room
    directory = struct.pack(f"{order}{'Q' if big else 'H'}", len(fields))
    outside = b""
    for number, (kind, values) in sorted(fields.items()):
        if kind == 2:
            packed, count = bytes(values), len(values)
        else:
            code = _TIFF_TYPES[kind]
            packed, count = struct.pack(f"{order}{len(values)}{code[0]}", *values), len(values)
            count //= len(code)
        if len(packed) > room:
            packed, outside = (
                struct.pack(f"{order}{'Q' if big else 'I'}", heap + len(outside)),
                outside + packed + bytes(len(packed) % 2),
            )
        directory += struct.pack(f"{order}HH{'Q' if big else 'I'}", number, kind, count)
        directory += packed.ljust(room, b"\0")
    content += directory + bytes(room) + outside
    return at + len(directory)


def netpbm(kind: int, samples: Samples, maximum: int = 255, *, comment: str = "") -> bytes:
    """A file of the PBM, PGM, PPM family, P1 to P6, of (H, W) or (H, W, 3) samples."""
    height, width = samples.shape[:2]
    header = f"P{kind}\n{comment}{width} {height}\n"
    if kind not in (1, 4):
        header += f"{maximum}\n"
    if kind <= 3:
        return header.encode() + b" ".join(str(int(v)).encode() for v in samples.ravel()) + b"\n"
    if kind == 4:
        return header.encode() + b"".join(_packed(row, 1, ">").tobytes() for row in samples)
    return header.encode() + samples.astype(">u2" if maximum > 255 else np.uint8).tobytes()


def bmp(
    samples: NDArray[np.uint8] | NDArray[np.uint16],
    bits: int,
    *,
    header: int = 40,
    palette: NDArray[np.uint8] | None = None,
    top_down: bool = False,
    masks: Sequence[int] = (),
) -> bytes:
    """A BMP of (H, W) indices or 16-bit colours, or of (H, W, 3 or 4) RGB or RGBA.

    Args:
        header: its bytes: 12 (OS/2), 40, 108 (V4) or 124 (V5).
        masks: of red, green, blue (and alpha); none: what a BMP without masks has.
    """
    height, width = samples.shape[:2]
    rows = []
    for row in samples if top_down else samples[::-1]:
        if samples.ndim == 3:
            packed = row[:, [2, 1, 0, 3][: row.shape[1]]].tobytes()
        elif bits == 16:
            packed = row.astype("<u2").tobytes()
        else:
            packed = _packed(row, bits, "<").tobytes()
        rows.append(packed + bytes(-len(packed) % 4))
    pixels = b"".join(rows)
    colours = b""
    if palette is not None:
        entry = palette[:, ::-1]
        colours = (entry if header == 12 else np.pad(entry, ((0, 0), (0, 1)))).tobytes()
    outside = struct.pack(f"<{len(masks)}I", *masks) if header == 40 else b""
    at = 14 + header + len(outside) + len(colours)
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        used = 0 if palette is None else len(palette)
        info = struct.pack("<Iii", header, width, -height if top_down else height)
        info += struct.pack(
            "<HHIIiiII", 1, bits, 3 if masks else 0, len(pixels), 2835, 2835, used, 0
        )
        if header > 40:
            info += struct.pack(f"<{len(masks)}I", *masks).ljust(16, b"\0")
        info = info.ljust(header, b"\0")
    size = at + len(pixels)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, at) + info + outside + colours + pixels


def exif(
    entries: bytes, count: int | None = None, *, order: str = "<", after: bytes = b""
) -> bytes:
    """An EXIF block (without its name) of 12-byte entries; `count` claims another number."""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    number = len(entries) // 12 if count is None else count
    return start + struct.pack(f"{order}H", number) + entries + bytes(4) + after


def exif_entry(tag: int, kind: int, count: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0")[:4]


def with_segment(jpeg: bytes, marker: int, content: bytes, length: int | None = None) -> bytes:
    """Puts a segment behind a JPEG's first two bytes."""
    size = len(content) + 2 if length is None else length
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, size) + content + jpeg[2:]
