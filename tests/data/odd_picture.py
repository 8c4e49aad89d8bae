"""What a picture of the corpus is, and what it is made from.

Letters: H, W pixels, C samples a pixel.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.data.picture_writers import Samples

# Odd sides: rows and tiles are filled up.
HEIGHT, WIDTH = 21, 37
# How many grey levels OpenCV's colours of four inks, and Pillow's colours of 5 bits, may be off.
ROUNDING = 1
ORIENTATION = 0x0112


@dataclass(frozen=True)
class OddPicture:
    """A file of the corpus.

    Attributes:
        pixels: (H, W, 3) uint8 that it has by the rule; None: it is refused.
        off: grey levels that a pixel may be off.
        reason: what the refusal says.
        notes: what is noted of it; None: not compared.
    """

    name: str
    content: bytes
    pixels: NDArray[np.uint8] | None = None
    off: int = 0
    reason: str = ""
    notes: str | None = None


def by_pillow(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        image.info.pop("transparency", None)
        return np.array(image.convert("RGB"))


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def drawn(channels: int = 3, bits: int = 8, seed: int = 0) -> NDArray[np.uint16]:
    """(H, W, C) samples: half of them smooth, half random, with black and white in it."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    most = (1 << bits) - 1
    smooth = np.stack([(y * (c + 1) + x * (3 - c % 3)) * most // 200 for c in range(channels)], 2)
    noise = np.random.default_rng(seed).integers(0, most + 1, (HEIGHT, WIDTH, channels))
    samples = np.where((x < WIDTH // 2)[..., None], np.minimum(smooth, most), noise)
    samples[0, 0], samples[-1, -1] = 0, most
    return samples.astype(np.uint16)


def eight_bits(samples: Samples, most: int) -> NDArray[np.uint8]:
    """The rule: of more than 8 bits the upper 8, after they are brought to 16."""
    wide = samples.astype(np.int64)
    if most > 255:
        return ((wide * 65_535 + most // 2) // most >> 8).astype(np.uint8)
    return ((wide * 255 + most // 2) // most).astype(np.uint8)


def three(samples: Samples, bits: int) -> NDArray[np.uint8]:
    """(H, W, C) samples -> their colours, (H, W, 3): grey is repeated, the rest left out."""
    eight = eight_bits(samples, (1 << bits) - 1)
    return np.repeat(eight[..., :1], 3, 2) if eight.shape[2] < 3 else eight[..., :3].copy()


def photograph() -> Image.Image:
    return Image.fromarray(drawn().astype(np.uint8)).resize((96, 80), Image.Resampling.BICUBIC)


def palette(entries: int) -> NDArray[np.uint8]:
    colours = np.random.default_rng(entries).integers(0, 256, (entries, 3))
    return colours.astype(np.uint8)
