"""RandAugment's geometric operations, as timm applies them with Pillow (timm/data/auto_augment.py).

A matrix (a, b, c, d, e, f) tells where a pixel of the result comes from, in Pillow's coordinates:
x * a + y * b + c, x * d + y * e + f, a pixel's middle being at half. Pillow takes a pixel from
beyond the edge as background or not; OpenCV blends the last half pixel with it. OpenCV's bicubic
filter is the sharper one (a = -0.75), as in the crop and in evaluation.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.augment.rand_augment import Operation, OperationName

Fill = tuple[int, int, int]
Matrix = tuple[float, float, float, float, float, float]

_NAMES = frozenset(("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"))


def is_geometric(name: OperationName) -> bool:
    return name in _NAMES


def warped(
    image: NDArray[np.uint8], operation: Operation, *, interpolation: int, fill: Fill
) -> NDArray[np.uint8]:
    """(S, S, 3) uint8 -> (S, S, 3) uint8."""
    height, width = image.shape[:2]
    a, b, c, d, e, f = _matrix(operation.name, operation.argument or 0.0, width, height)
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
