"""From image files to pixels and to the network's input: one way for training and evaluation.

All of it is OpenCV's but some rare formats (`data.decoding`): its C++ code lets other threads run.
mindspore.dataset is built on the same library and gives the same pixels (bicubic: one grey level at
most), but its own operators cannot be used. In a pipeline they draw their own random numbers, which
depend on threads and cannot be entered in the middle; called one by one they keep Python's lock;
and its JPEG decoder takes twice the time.

Letters: H, W pixels of the decoded image, C channels, S pixels of `Input.image_size`. Images are
uint8 RGB, (H, W, 3) or (S, S, 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.decoding import decode
from mixnet_core.recipe.sections import Input

Pixels = NDArray[np.uint8]

_INTERPOLATIONS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}

# No photograph is that long.
_MOST_SHORT_SIDES = 64

# Its own threads would take the cores that the threads of this process already use.
cv2.setNumThreads(0)


def interpolation(settings: Input) -> int:
    """Returns OpenCV's number for the recipe's word."""
    return _INTERPOLATIONS[settings.interpolation]


def decoded(content: bytes) -> Pixels:
    """Decodes a file's content to (H, W, 3), by the rule of `data.decoding`.

    Raises:
        ValueError: it cannot be used: no image, cut off, of a kind that is not read, too large.
    """
    return decode(content)


def middle(image: Pixels, settings: Input, *, short_side: int) -> Pixels:
    """Takes evaluation's part of an image: (H, W, 3) -> (S, S, 3).

    The shorter side is resized as mindspore.dataset.vision.Resize does it, and the middle is
    cropped.

    Args:
        short_side: pixels, at least S (`Recipe.short_side`).
    """
    image = _without_far_ends(image)
    height, width = image.shape[:2]
    size = settings.image_size
    if width < height:
        width, height = short_side, height * short_side // width
    else:
        width, height = width * short_side // height, short_side
    resized = cv2.resize(image, (width, height), interpolation=interpolation(settings))
    top, left = (height - size) // 2, (width - size) // 2
    return resized[top : top + size, left : left + size]


def _without_far_ends(image: Pixels) -> Pixels:
    """Cuts the far ends off a long strip, of which only the middle is taken.

    One of 20,000 x 1 pixels would be resized to gigabytes.
    """
    height, width = image.shape[:2]
    kept = _MOST_SHORT_SIDES * min(height, width)
    top, left = max(0, height - kept) // 2, max(0, width - kept) // 2
    return image[top : top + kept, left : left + kept]


def grey(image: Pixels) -> Pixels:
    """Turns (S, S, 3) into grey, (S, S)."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


@dataclass(frozen=True)
class ToNetwork:
    """Normalises images.

    Attributes:
        factor, offset: one per channel: pixels * factor + offset.
    """

    factor: tuple[np.float32, ...]
    offset: tuple[np.float32, ...]

    @classmethod
    def of(cls, settings: Input, in_channels: int) -> ToNetwork:
        """Makes the one for a recipe's mean and deviation."""
        mean, std = np.array(settings.mean[:in_channels]), np.array(settings.std[:in_channels])
        return cls(
            factor=tuple((1 / std).astype(np.float32)),
            offset=tuple((-mean / std).astype(np.float32)),
        )

    def __call__(self, image: Pixels, out: NDArray[np.float32]) -> None:
        """Writes the (S, S, 3) image into `out`, (C, S, S)."""
        planes = cv2.split(image) if len(self.factor) == 3 else (grey(image),)
        # Plane by plane, which is contiguous: three times as fast as all of it transposed.
        for plane, factor, offset, target in zip(
            planes, self.factor, self.offset, out, strict=True
        ):
            np.multiply(plane, factor, out=target)
            target += offset
