"""Looking into one image file: what it is, or why it cannot be used.

The rule: a file that training and evaluation can read is kept byte for byte, so that its digest
stays the published one, and both read it alike (`data.pixels`; `data.decoding` has the rule for
pixels). Nothing is converted; what is unusual is noted, and a note that cannot be made is left out.
"""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image

from mixnet_core.data.decoder_words import heard_from_decoders
from mixnet_core.data.decoding import NOT_WHOLE, decode_to_check
from mixnet_core.data.headers import FORMATS, MOST_PIXELS, Header, read_header

__all__ = ["FORMATS", "MOST_PIXELS", "Inspected", "Unusable", "header", "inspected"]

_ORIENTATION = 0x0112
WARNED = "decoder-warning"


class Inspected(NamedTuple):
    """Describes a usable image.

    Attributes:
        width, height: pixels, as stored.
        notes: what is unusual for ImageNet, in words separated by a space: png, mpo, bmp, ppm,
            tiff, webp, gif, jpeg2000, avif, heic, cmyk, grey, alpha, palette, 16-bit,
            orientation-2 to -8, decoder-warning. Empty: an RGB JPEG.
        warning: what the decoder's library said of it, in a line; empty where it said nothing.
    """

    width: int
    height: int
    notes: str
    warning: str = ""


class Unusable(ValueError):
    """Says in a few words why a file cannot be used."""


def header(content: bytes) -> Inspected:
    """Reads what the file says of itself; its pixels are not decoded.

    Raises:
        Unusable: it is no image, of a format that is not read, or too large.
    """
    try:
        return _described(content, read_header(content))
    except ValueError as error:
        raise Unusable(_reason(error)) from error


def inspected(content: bytes) -> Inspected:
    """Reads what the file says of itself and makes sure that it decodes to its end.

    Raises:
        Unusable: `data.pixels.decoded` does not read it.
    """
    try:
        with heard_from_decoders() as said:
            read = decode_to_check(content)
    except ValueError as error:
        raise Unusable(_why_not(content, error, said)) from error
    found = _described(content, read)
    if not said:
        return found
    return found._replace(notes=f"{found.notes} {WARNED}".strip(), warning="; ".join(said))


def _described(content: bytes, found: Header) -> Inspected:
    more_pictures, orientation = _seen_by_pillow(content)
    notes = ["mpo"] if more_pictures else [] if found.format == "JPEG" else [found.format.lower()]
    notes += found.words
    if orientation in range(2, 9):
        notes.append(f"orientation-{orientation}")
    return Inspected(found.width, found.height, " ".join(notes))


def _seen_by_pillow(content: bytes) -> tuple[bool, object]:
    """Tells whether it is a camera's JPEG with more pictures in it, and how EXIF turns it.

    Whatever is odd in what decoding does not need is no reason to refuse a picture.
    """
    more_pictures = False
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG", "PNG", "WEBP"]) as image:
            more_pictures = image.format == "MPO"
            return more_pictures, image.getexif().get(_ORIENTATION)
    except Exception:
        return more_pictures, None


def _why_not(content: bytes, error: ValueError, said: list[str]) -> str:
    """Says why a file does not decode: Pillow tells more than OpenCV, where it fails too."""
    if str(error) != NOT_WHOLE:
        return _reason(error)
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG", "PNG", "BMP", "WEBP"]) as image:
            image.load()
    except Exception as found:
        return _reason(found)
    return "; ".join(said) or "OpenCV cannot decode it"


def _reason(error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return "not an image" if "cannot identify image file" in reason else reason
