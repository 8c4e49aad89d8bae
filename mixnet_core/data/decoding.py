"""From any image file to its pixels, by one rule for all formats.

CMYK becomes RGB, grey is repeated, transparency is left out, of more than 8 bits the upper 8 are
taken, EXIF's orientation is not applied, of several pictures the first is read. OpenCV decodes
where it follows the rule: most of its C++ code lets other threads run. Else Pillow does.

Letters: H, W pixels.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixnet_core.data.headers import (
    JPEG_START,
    PNG_START,
    Header,
    expect_few_pixels,
    jpeg_frame,
    opened_by_pillow,
    png_frame,
    read_header,
)
from mixnet_core.data.netpbm import netpbm_pixels
from mixnet_core.data.tiff import tiff_pixels
from mixnet_core.data.tiff_header import tiff_header

_READ = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
# An eighth of each side: of a JPEG every coded byte is read, and most of the arithmetic left out.
_REDUCED = 8
_READ_REDUCED = cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION
NOT_WHOLE = "not a whole image"
_BMP_DEPTH = slice(28, 30)
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")

# A reason reaches the user with the file's name; printed by the libraries it would have none.
cv2.setLogLevel(0)
logging.getLogger("PIL").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
# Refused by our own limit, which is the same.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def decode(content: bytes) -> NDArray[np.uint8]:
    """Decodes a file's content to RGB, (H, W, 3).

    Raises:
        ValueError: it cannot be used: no image, cut off, of a kind that is not read, too large.
    """
    # First what nearly every image is that is trained on.
    if content.startswith(JPEG_START):
        jpeg_frame(content)
        return _by_opencv(content, _READ)
    if content.startswith(PNG_START):
        if png_frame(content).animated:
            # OpenCV would blend the first frame with a background.
            content = content[:8] + b"".join(_still_chunks(content))
        return _by_opencv(content, _READ)
    return _other(content)


def decode_to_check(content: bytes) -> Header:
    """Decodes as `decode` does, in less time where it can, and gives the header only.

    Raises:
        ValueError: `decode` would raise it.
    """
    header = read_header(content)
    if header.format != "JPEG":
        decode(content)
    else:
        # A side of nothing would be an error.
        small = min(header.width, header.height) < _REDUCED
        _by_opencv(content, _READ if small else _READ_REDUCED)
    return header


def _other(content: bytes) -> NDArray[np.uint8]:
    # Pillow's parsers raise whatever they stumble over: SyntaxError, struct.error, zlib.error, ...
    try:
        header = read_header(content)
        if header.format == "BMP" and content[_BMP_DEPTH] == b"\x10\0":
            return _by_pillow(content, "BMP")
        if header.format in ("BMP", "WEBP"):
            return _by_opencv(content, _READ)
        if header.format == "PPM":
            return netpbm_pixels(content)
        if header.format == "TIFF":
            return tiff_pixels(content, tiff_header(content))
        return _by_pillow(content, header.format)
    except ValueError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"cut off or damaged ({reason})") from error


def _by_opencv(content: bytes, how: int) -> NDArray[np.uint8]:
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), how)
    except cv2.error as error:
        raise ValueError(error.err or NOT_WHOLE) from error
    if image is None:
        raise ValueError(NOT_WHOLE)
    return image


def _by_pillow(content: bytes, found: str) -> NDArray[np.uint8]:
    with opened_by_pillow(content, found) as image:
        image.load()
        # What is no header's may have come only now.
        expect_few_pixels(*image.size)
        return plain_colours(image)


def plain_colours(image: Image.Image) -> NDArray[np.uint8]:
    """Turns Pillow's image into RGB, (H, W, 3); what it notes of transparency is dropped.

    Raises:
        ValueError: its mode has no such form.
    """
    if image.mode.startswith("I;16"):
        # Pillow itself would cut off what is above 255.
        upper = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(upper[..., None], 3, axis=2)
    if image.mode in ("I", "F", "LAB"):
        raise ValueError(
            f"{image.format or 'an image'} of mode {image.mode}: convert it to JPEG or PNG"
        )
    # Pillow warns where it leaves a palette's transparency out.
    image.info.pop("transparency", None)
    return np.array(image.convert("RGB"))


def _still_chunks(content: bytes) -> Iterator[bytes]:
    """Leaves a PNG's animation out."""
    at = 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] not in _ANIMATION:
            yield content[at : at + 12 + length]
        at += 12 + length
