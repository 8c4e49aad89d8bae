"""Looking into one image file: what it is, or why it cannot be used.

The rule: a file that training and evaluation can read is kept byte for byte, so that its digest
stays the published one, and both read it alike (`data.pixels`): CMYK becomes RGB, grey is repeated,
transparency is left out, of 16 bits the upper 8 are taken, EXIF's orientation is not applied (as in
MindCV, timm and torchvision's folders). Nothing is converted; what is unusual is noted.
"""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

# The content decides, whatever the name says. A WebP is refused rather than left out: images that
# silently do not take part are worse than an error. MPO is the JPEG of cameras with two pictures.
FORMATS = ("JPEG", "MPO", "PNG", "BMP", "PPM", "TIFF")
# Pillow's limit against decompression bombs; the largest image of ILSVRC2012 has 33 million.
MOST_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485

_ORIENTATION = 0x0112
_UPRIGHT = 1
_PNG_DEPTH = 24
_NOTES_BY_MODE = {
    "1": "grey",
    "L": "grey",
    "LA": "grey alpha",
    "RGBA": "alpha",
    "P": "palette",
    "PA": "palette alpha",
    "CMYK": "cmyk",
}

# An eighth of each side: of a JPEG every coded byte is read, and most of the arithmetic left out.
_REDUCED = 8
_READ_REDUCED = cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION
_READ = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION

# What Pillow only warns of is refused here; a warning's filter cannot be set per thread.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


class Inspected(NamedTuple):
    """Describes a usable image.

    Attributes:
        width, height: pixels, as stored.
        notes: what is unusual for ImageNet, in words separated by a space: png, mpo, bmp, ppm,
            tiff, cmyk, grey, alpha, palette, 16-bit, orientation-2 to -8. Empty: an RGB JPEG.
    """

    width: int
    height: int
    notes: str


class Unusable(ValueError):
    """Says in a few words why a file cannot be used."""


def header(content: bytes) -> Inspected:
    """Reads what the file says of itself; its pixels are not decoded.

    Raises:
        Unusable: it is no image, of a format that is not read, or too large.
    """
    if not content:
        raise Unusable("the file is empty")
    try:
        with Image.open(io.BytesIO(content)) as image:
            found, mode, (width, height) = str(image.format), image.mode, image.size
            turned = int(image.getexif().get(_ORIENTATION, _UPRIGHT))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise Unusable(f"more than {MOST_PIXELS:,} pixels") from error
    # Pillow's parsers raise whatever they stumble over: SyntaxError, struct.error, zlib.error, ...
    except Exception as error:
        raise Unusable(_reason(error, content)) from error
    if found not in FORMATS:
        raise Unusable(f"{found}, expected one of {', '.join(FORMATS)}")
    notes = [] if found == "JPEG" else [found.lower()]
    if mode.startswith("I") or mode == "F":
        notes += ["grey", "16-bit"]
    elif mode in _NOTES_BY_MODE:
        notes.append(_NOTES_BY_MODE[mode])
    # Pillow calls colours of 16 bits RGB: the header's place for the depth tells.
    if found == "PNG" and content[_PNG_DEPTH] == 16 and "16-bit" not in notes:
        notes.append("16-bit")
    if 2 <= turned <= 8:
        notes.append(f"orientation-{turned}")
    return Inspected(width, height, " ".join(notes))


def inspected(content: bytes) -> Inspected:
    """Reads what the file says of itself and makes sure that it decodes to its end.

    Raises:
        Unusable: it does not, or as `header`.
    """
    found = header(content)
    # A side of nothing would be an error.
    how = _READ_REDUCED if min(found.width, found.height) >= _REDUCED else _READ
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), how)
    except cv2.error:
        image = None
    if image is None:
        raise Unusable(_why_not(content))
    return found


def _why_not(content: bytes) -> str:
    """Says why a file does not decode: Pillow tells more than OpenCV, where it fails too."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception as error:
        return _reason(error, content)
    return "OpenCV cannot decode it"


def _reason(error: Exception, content: bytes) -> str:
    reason = " ".join(str(error).replace(repr(content), "").split()) or type(error).__name__
    return "not an image" if "cannot identify image file" in reason else reason
