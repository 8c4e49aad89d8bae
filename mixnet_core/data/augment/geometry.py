"""RandAugment's geometric operations, as timm applies them with Pillow (timm/data/auto_augment.py).

A matrix (a, b, c, d, e, f) tells where a pixel of the result comes from, in Pillow's coordinates:
x * a + y * b + c, x * d + y * e + f, a pixel's middle being at half. Pillow takes a pixel from
beyond the edge as background or not; OpenCV blends the last half pixel with it. OpenCV's bicubic
filter is the sharper one (a = -0.75), as in the crop and in evaluation.
"""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.augment.rand_augment import Operation, OperationName

Fill = tuple[int, int, int]
Matrix = tuple[float, float, float, float, float, float]

# warpAffine's parts of a pixel.
_PARTS = 32
# Rows that share one filter, on average; with fewer of them warpAffine is faster.
_FEWEST_ROWS = 6

_NAMES = frozenset(("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"))


def is_geometric(name: OperationName) -> bool:
    """Tells whether an operation moves pixels."""
    return name in _NAMES


def warped(
    image: NDArray[np.uint8], operation: Operation, *, interpolation: int, fill: Fill
) -> NDArray[np.uint8]:
    """Applies an operation that moves pixels, (S, S, 3) -> (S, S, 3) uint8.

    Args:
        interpolation: OpenCV's number.
        fill: the colour that is shown from beyond the edge.
    """
    height, width = image.shape[:2]
    a, b, c, d, e, f = _matrix(operation.name, operation.argument or 0.0, width, height)
    if (a, d, e, f) == (1, 0, 1, 0):
        moved = _moved_along(image, b, c, interpolation, fill)
        if moved is not None:
            return moved
    elif (a, b, c, e) == (1, 0, 0, 1):
        moved = _moved_along(cv2.transpose(image), d, f, interpolation, fill)
        if moved is not None:
            return cv2.transpose(moved)
    # OpenCV's coordinates have a pixel's middle at whole numbers.
    source = np.array([[a, b, c + (a + b - 1) / 2], [d, e, f + (d + e - 1) / 2]])
    return cv2.warpAffine(
        image,
        source,
        (width, height),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=fill,
    )


def _moved_along(
    image: NDArray[np.uint8], slope: float, offset: float, interpolation: int, fill: Fill
) -> NDArray[np.uint8] | None:
    """Moves rows: in row y each pixel is what stood slope * y + offset to its right.

    Both images are (H, W, 3).

    Rows that move equally far share the weights of their pixels, so that a filter moves them: a
    translation takes an eighth of warpAffine's time and gives its values, one grey level more or
    less. None where that would be slower, because too many rows differ.
    """
    height, width = image.shape[:2]
    # In parts of a pixel, as warpAffine does.
    steps = np.rint((slope * (np.arange(height) + 0.5) + offset) * _PARTS).astype(np.int64)
    firsts = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), height]
    if len(firsts) - 1 > height // _FEWEST_ROWS:
        return None
    taps = 2 if interpolation == cv2.INTER_LINEAR else 4
    before = (taps - 1) // 2
    # Columns of the image, of which the part that is there, between those that are background.
    wholes = steps // _PARTS
    first, end = int(wholes.min()) - before, int(wholes.max()) - before + width + taps - 1
    inside = image[:, max(0, min(first, width)) : max(0, min(end, width))]
    left = min(max(0, -first), end - first)
    right = end - first - left - inside.shape[1]
    wide = cv2.copyMakeBorder(inside, 0, 0, left, right, cv2.BORDER_CONSTANT, value=fill)
    moved = np.empty_like(image)
    for top, below in pairwise(firsts):
        whole, part = divmod(int(steps[top]), _PARTS)
        start = whole - before - first
        rows = wide[top:below, start : start + width + taps - 1]
        weights = _weights(part / _PARTS, interpolation)[None]
        filtered = cv2.filter2D(rows, -1, weights, anchor=(before, 0))
        moved[top:below] = filtered[:, before : before + width]
    return moved


def _weights(part: float, interpolation: int) -> NDArray[np.float32]:
    """Returns the weights of the pixels around a point `part` of the way from one to the next."""
    if interpolation == cv2.INTER_LINEAR:
        return np.array([1 - part, part], np.float32)
    # Keys' cubic convolution with OpenCV's a.
    a = -0.75
    distances = np.array([1 + part, part, 1 - part, 2 - part])
    near = ((a + 2) * distances - (a + 3)) * distances**2 + 1
    far = ((distances - 5) * distances + 8) * distances * a - 4 * a
    return np.where(distances <= 1, near, far).astype(np.float32)


def _matrix(name: OperationName, argument: float, width: int, height: int) -> Matrix:
    if name == "ShearX":
        return (1, argument, 0, 0, 1, 0)
    if name == "ShearY":
        return (1, 0, 0, argument, 1, 0)
    if name == "TranslateX":
        return (1, 0, argument * width, 0, 1, 0)
    if name == "TranslateY":
        return (1, 0, 0, 0, 1, argument * height)
    cos, sin = math.cos(math.radians(argument)), math.sin(math.radians(argument))
    x, y = width / 2, height / 2
    # Counter-clockwise around the middle, y pointing down.
    return (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)
