"""Images as ImageNet has them: JPEGs of photographs in its sizes, and one of each odd kind."""

from __future__ import annotations

import io
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from benchmarks.images.photographs import photographs, random_crop

# ImageNet's usual width, which the sizes are for; a portrait is a crop turned by 90 degrees.
SIDE = 500
SIZES = ((500, 375), (375, 500), (600, 400), (500, 375), (240, 180), (500, 333), (333, 500))
# Such that a file has 110 kB on average, as in ImageNet.
QUALITY, SUBSAMPLING = 96, 0
ODD = ("png", "cmyk", "grey", "orientation-6", "progressive")


def ordinary_jpegs(count: int, side: int, draw: np.random.Generator) -> list[bytes]:
    """That many JPEGs: real ones of ImageNet where foolbox is installed, then crops."""
    found = [_real(path, side) for path in _foolbox()[:count]]
    both = _scaled_photographs(side)
    for i in range(count - len(found)):
        crop = _crop(both[i % len(both)], SIZES[i % len(SIZES)], side, draw)
        found.append(_jpeg(crop))
    return found


def _foolbox() -> list[Path]:
    # Not imported: it would need packages that nothing here uses.
    spec = util.find_spec("foolbox")
    if spec is None or not spec.submodule_search_locations:
        return []
    return sorted(Path(spec.submodule_search_locations[0], "data").glob("imagenet_*.jpg"))


def _real(path: Path, side: int) -> bytes:
    if side == SIDE:
        return path.read_bytes()
    with Image.open(path) as photograph:
        photograph.thumbnail((side, side))
        return _jpeg(photograph)


def _scaled_photographs(side: int) -> list[Image.Image]:
    # Rounded up: a crop of any of SIZES must fit, whatever the side.
    def scaled(pixels: int) -> int:
        return -(-pixels * side // SIDE)

    both = photographs()
    if side == SIDE:
        return both
    return [whole.resize((scaled(whole.width), scaled(whole.height))) for whole in both]


def _crop(
    photograph: Image.Image, size: tuple[int, int], side: int, draw: np.random.Generator
) -> Image.Image:
    width, height = (pixels * side // SIDE for pixels in size)
    part = random_crop(photograph, max(width, height), min(width, height), draw)
    return part if width >= height else part.transpose(Image.Transpose.ROTATE_90)


def _jpeg(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, subsampling=SUBSAMPLING, **options)
    return buffer.getvalue()


def odd_images(side: int, draw: np.random.Generator) -> dict[str, bytes]:
    """One of each of ODD."""
    part = _crop(_scaled_photographs(side)[0], SIZES[0], side, draw)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    png = io.BytesIO()
    # The photograph's profile is one that libpng warns of, at every decoding.
    part.save(png, "PNG", icc_profile=None)
    return {
        "png": png.getvalue(),
        "cmyk": _jpeg(part.convert("CMYK")),
        "grey": _jpeg(part.convert("L")),
        "orientation-6": _jpeg(part, exif=exif),
        "progressive": _jpeg(part, progressive=True),
    }
