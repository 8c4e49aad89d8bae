"""JPEGs of real photographs, as many as wanted, in the layout of an image folder."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import util
from pathlib import Path

import numpy as np
from PIL import Image

from mixnet_core.errors import InputError, MachineError

CLASSES = ("a", "b")
# Of each class: what a select split is cut from.
TRAIN_IMAGES = 8
WIDTH, HEIGHT, QUALITY = 500, 375, 90


def write_photographs(folder: Path, images: int, photos: Path | None) -> str:
    """Fills train/CLASS/ with a few and val/CLASS/ with `images`; what they are, in words.

    Args:
        photos: JPEGs there are repeated, as they are; None: crops at random places of the
            two photographs inside scikit-learn, half of them mirrored.

    Raises:
        InputError: photos holds no JPEG.
        MachineError: it is None, and scikit-learn is not installed.
    """
    if photos is None:
        content, what = _crops(), f"{WIDTH}x{HEIGHT} crops of scikit-learn's two photographs"
    else:
        content, what = _repeated(photos), f"the photographs of {photos.name}, repeated"
    for split, count in (("train", TRAIN_IMAGES * len(CLASSES)), ("val", images)):
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
        for i in range(count):
            path = folder / split / CLASSES[i % len(CLASSES)] / f"{i:06d}.jpg"
            path.write_bytes(content(i))
    return what


def _repeated(photos: Path) -> Callable[[int], bytes]:
    files = sorted(p for p in photos.glob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if not files:
        raise InputError(f"{photos} holds no JPEG: expected a folder with *.jpg directly in it")
    contents = [file.read_bytes() for file in files]
    return lambda i: contents[i % len(contents)]


def photographs() -> list[Image.Image]:
    """Scikit-learn's two, RGB of 640x427 pixels.

    Raises:
        MachineError: it is not installed.
    """
    spec = util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise MachineError(
            "scikit-learn, whose photographs benchmarks use, is not installed: "
            "run `pip install scikit-learn`, or name a folder of JPEGs with --photos"
        )
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "images"
    return [Image.open(folder / name).convert("RGB") for name in ("china.jpg", "flower.jpg")]


def random_crop(
    photograph: Image.Image, width: int, height: int, draw: np.random.Generator
) -> Image.Image:
    """Of that many pixels, from a random place, mirrored every other time."""
    left = int(draw.integers(0, photograph.width - width + 1))
    top = int(draw.integers(0, photograph.height - height + 1))
    part = photograph.crop((left, top, left + width, top + height))
    if draw.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return part


def _crops() -> Callable[[int], bytes]:
    both = photographs()
    draw = np.random.default_rng(0)

    def crop(i: int) -> bytes:
        part = random_crop(both[i // len(CLASSES) % len(both)], WIDTH, HEIGHT, draw)
        buffer = io.BytesIO()
        part.save(buffer, "JPEG", quality=QUALITY)
        return buffer.getvalue()

    return crop
