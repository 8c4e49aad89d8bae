"""What an image file says of itself before its pixels: read by us, for what decoding needs only.

Pillow's parsers also read EXIF, profiles and texts, and give up on what is odd in them; OpenCV
says nothing before it has decoded. The content decides, whatever the name says.
"""

from __future__ import annotations

import io
import struct
from importlib.util import find_spec
from typing import NamedTuple

from PIL import Image

from mixnet_core.data.formats import HEAD_BYTES, format_of
from mixnet_core.data.netpbm import netpbm_header
from mixnet_core.data.refused_formats import why_refused
from mixnet_core.data.tiff_header import tiff_header

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# Formats that are read in this environment, as `formats.format_of` names them. HEIC's package is
# none of ours: its licence is another one.
FORMATS = (
    *("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP", "GIF", "JPEG2000"),
    *(("AVIF",) if find_spec("PIL._avif") else ()),
    *(("HEIC",) if find_spec("pillow_heif") else ()),
)
# Pillow's limit against decompression bombs; the largest image of ILSVRC2012 has 33 million.
MOST_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
_TOO_MANY = f"more than {MOST_PIXELS:,} pixels"

# Frames of sequential, progressive, lossless and arithmetic-coded JPEGs; 0xC4, C8 and CC are none.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))
_JPEG_NO_FRAME_FOLLOWS = frozenset((0xD9, 0xDA))
_JPEG_WORDS = {1: ("grey",), 4: ("cmyk",)}
_PNG_WORDS = {0: ("grey",), 3: ("palette",), 4: ("grey", "alpha"), 6: ("alpha",)}
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_JPEG_FRAME = struct.Struct(">BHHB")
_PNG_HEADER, _PNG_CHUNK = struct.Struct(">IIBB"), struct.Struct(">I4s")
# A byte of zlib's unpacks to no more.
_MOST_DEFLATED = 1032
_PILLOW_WORDS: dict[str, tuple[str, ...]] = {
    **{"1": ("grey",), "L": ("grey",), "LA": ("grey", "alpha"), "RGBA": ("alpha",)},
    **dict.fromkeys(("I", "I;16", "I;16B", "I;16L"), ("grey", "16-bit")),
    **{"P": ("palette",), "PA": ("palette", "alpha"), "CMYK": ("cmyk",)},
}


class PngFrame(NamedTuple):
    """Describes a PNG's picture.

    Attributes:
        depth: bits of a sample.
        kind: 0 grey, 2 colours, 3 palette, 4 grey with alpha, 6 colours with alpha.
        animated: whether there are more pictures.
    """

    width: int
    height: int
    depth: int
    kind: int
    animated: bool


class Header(NamedTuple):
    """Describes an image before it is decoded.

    Attributes:
        format: one of FORMATS.
        width, height: pixels, as stored.
        words: what is unusual about its pixels: grey, alpha, palette, cmyk, 16-bit.
    """

    format: str
    width: int
    height: int
    words: tuple[str, ...] = ()


def read_header(content: bytes) -> Header:
    """Reads what the file says of its pixels.

    Raises:
        ValueError: it is no image, of a format or kind that is not read, or of more than
            MOST_PIXELS.
    """
    if not content:
        raise ValueError("the file is empty")
    if content.startswith(JPEG_START):
        width, height, channels = jpeg_frame(content)
        return Header("JPEG", width, height, _JPEG_WORDS.get(channels, ()))
    if content.startswith(PNG_START):
        png = png_frame(content)
        words = _PNG_WORDS.get(png.kind, ()) + ("16-bit",) * (png.depth == 16)
        return Header("PNG", png.width, png.height, words)
    header = _other(content)
    expect_few_pixels(header.width, header.height)
    return header


def expect_few_pixels(width: int, height: int) -> None:
    """Refuses a decompression bomb.

    Raises:
        ValueError: the image has more than MOST_PIXELS, or none.
    """
    if width < 1 or height < 1:
        raise ValueError(f"its header says {width} x {height} pixels")
    if width * height > MOST_PIXELS:
        raise ValueError(_TOO_MANY)


def jpeg_frame(content: bytes) -> tuple[int, int, int]:
    """Finds width, height and channels as libjpeg does, which skips what is between segments.

    Nearly every training image comes through here: it takes a microsecond.

    Raises:
        ValueError: there is no frame, its samples have more than 8 bits, or it is too large.
    """
    at, end = 2, len(content) - 9
    while at < end:
        if content[at] != 0xFF:
            at = content.find(b"\xff", at)
            if at < 0:
                break
            continue
        marker = content[at + 1]
        if marker in _JPEG_FRAMES:
            bits, height, width, channels = _JPEG_FRAME.unpack_from(content, at + 4)
            if bits != 8:
                raise ValueError(f"JPEG of {bits} bits a sample: convert it to 8 bits")
            if not 0 < width * height <= MOST_PIXELS:
                expect_few_pixels(width, height)
            return width, height, channels
        if marker in _JPEG_NO_FRAME_FOLLOWS:
            break
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_ALONE:
            at += 2
        else:
            at += 2 + (content[at + 2] << 8 | content[at + 3])
    raise ValueError("a JPEG without a picture in it, or cut off before it")


def png_frame(content: bytes) -> PngFrame:
    """Reads a PNG's header and makes sure that its chunks are there.

    OpenCV takes the gigabytes that a header or a chunk claims before it finds that they are not.

    Raises:
        ValueError: it is cut off, or too large.
    """
    if len(content) < 33 or content[8:16] != b"\0\0\0\rIHDR":
        raise ValueError("a PNG whose first chunk is no header, or cut off in it")
    width, height, depth, kind = _PNG_HEADER.unpack_from(content, 16)
    expect_few_pixels(width, height)
    if width * depth * _PNG_SAMPLES.get(kind, 1) * height > 8 * _MOST_DEFLATED * len(content):
        raise ValueError(f"a PNG that is cut off: {width} x {height} pixels need more bytes")
    at, last, pixels, animated = 33, len(content) - 12, False, False
    while at <= last:
        length, name = _PNG_CHUNK.unpack_from(content, at)
        at += length + 12
        if name == b"IDAT":
            pixels = True
        elif name == b"acTL":
            animated = True
        elif name == b"IEND" and pixels and at <= len(content):
            return PngFrame(width, height, depth, kind, animated)
    raise ValueError("a PNG that is cut off")


def _other(content: bytes) -> Header:
    found = format_of(content[:HEAD_BYTES])
    if found == "BMP":
        return _bmp(content)
    if found == "WEBP":
        return _webp(content)
    if found == "PPM":
        netpbm = netpbm_header(content)
        words = ("grey",) * (netpbm.channels == 1) + ("16-bit",) * (netpbm.maximum > 255)
        return Header("PPM", netpbm.width, netpbm.height, words)
    if found == "TIFF":
        tiff = tiff_header(content)
        return Header("TIFF", *tiff.size, tuple(tiff.words))
    if found is not None and found in FORMATS:
        return _by_pillow(content, found)
    raise ValueError(why_refused(content, found))


def _by_pillow(content: bytes, found: str) -> Header:
    # Pillow's parsers raise whatever they stumble over: SyntaxError, struct.error, zlib.error, ...
    try:
        with opened_by_pillow(content, found) as image:
            return Header(found, *image.size, _PILLOW_WORDS.get(image.mode, ()))
    except ValueError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(_TOO_MANY) from error
    except Exception as error:
        raise ValueError(f"{found} that is cut off or damaged") from error


def opened_by_pillow(content: bytes, found: str) -> Image.Image:
    """Opens a file of this format, one of FORMATS, and of no other.

    Raises:
        Exception: whatever Pillow stumbles over.
    """
    if found == "HEIC":
        import pillow_heif

        pillow_heif.register_heif_opener()
    return Image.open(io.BytesIO(content), formats=["HEIF" if found == "HEIC" else found])


def _bmp(content: bytes) -> Header:
    size = int.from_bytes(content[14:18], "little")
    # OS/2's first header has halves of the fields.
    side, depth_at = (2, 24) if size == 12 else (4, 28)
    width = int.from_bytes(content[18 : 18 + side], "little", signed=side == 4)
    height = int.from_bytes(content[18 + side : 18 + 2 * side], "little", signed=side == 4)
    depth = int.from_bytes(content[depth_at : depth_at + 2], "little")
    words: tuple[str, ...] = ()
    if depth <= 8:
        entry = 3 if size == 12 else 4
        used = int.from_bytes(content[46:50], "little") if size >= 40 else 0
        table = content[14 + size : 14 + size + entry * (used or 1 << depth)]
        grey = table[::entry] == table[1::entry] == table[2::entry]
        words = ("grey",) if grey else ("palette",)
    # Rows may be stored from above, which the sign says.
    return Header("BMP", width, abs(height), words)


def _webp(content: bytes) -> Header:
    kind, alpha = content[12:16], False
    if len(content) < 30:
        raise ValueError("a WebP that is cut off")
    if kind == b"VP8X":
        alpha = bool(content[20] & 0x10)
        width = 1 + int.from_bytes(content[24:27], "little")
        height = 1 + int.from_bytes(content[27:30], "little")
    elif kind == b"VP8L":
        packed = int.from_bytes(content[21:25], "little")
        width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
        alpha = bool(packed >> 28 & 1)
    elif kind == b"VP8 ":
        width = int.from_bytes(content[26:28], "little") & 0x3FFF
        height = int.from_bytes(content[28:30], "little") & 0x3FFF
    else:
        raise ValueError("a WebP without a picture in it")
    return Header("WEBP", width, height, ("alpha",) * alpha)
