"""RandAugment's operations on colours, as timm applies them with Pillow.

Most are a table from old to new values; the tables are those that Pillow's ImageOps and
ImageEnhance amount to. Color and Sharpness blend two images and are within two grey levels of
Pillow's, which cuts fractions off where OpenCV rounds.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.augment.rand_augment import Operation, OperationName

Pixels = NDArray[np.uint8]

_SOLARIZE_ADD_BELOW = 128
_VALUES = np.arange(256)
# Pillow's ImageFilter.SMOOTH.
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def recoloured(image: Pixels, operation: Operation) -> Pixels:
    """Applies an operation on colours, (S, S, 3) -> (S, S, 3) uint8."""
    if operation.argument is None:
        return _PLAIN[operation.name](image)
    return _WITH_ARGUMENT[operation.name](image, operation.argument)


def _autocontrast(image: Pixels) -> Pixels:
    return cv2.LUT(image, _tables([_stretching(plane) for plane in cv2.split(image)]))


def _stretching(plane: Pixels) -> Pixels:
    low, high, _, _ = cv2.minMaxLoc(plane)
    if high <= low:
        return _VALUES.astype(np.uint8)
    scale = 255.0 / (high - low)
    # To whole numbers towards zero, as int() does.
    return np.clip((_VALUES * scale - low * scale).astype(np.int64), 0, 255).astype(np.uint8)


def _equalize(image: Pixels) -> Pixels:
    return cv2.LUT(image, _tables([_equalizing(plane) for plane in cv2.split(image)]))


def _equalizing(plane: Pixels) -> Pixels:
    counts = cv2.calcHist([plane], [0], None, [256], [0, 256])[:, 0].astype(np.int64)
    last = counts[np.flatnonzero(counts)[-1]]
    step = int(counts.sum() - last) // 255
    if step == 0:
        return _VALUES.astype(np.uint8)
    below = np.cumsum(counts) - counts
    return np.minimum((step // 2 + below) // step, 255).astype(np.uint8)


def _tables(tables: list[Pixels]) -> Pixels:
    return np.stack(tables, axis=-1)[None]


def _posterize(image: Pixels, bits: float) -> Pixels:
    kept = 256 - (1 << (8 - int(bits)))
    return cv2.LUT(image, (_VALUES & kept).astype(np.uint8))


def _solarize(image: Pixels, least: float) -> Pixels:
    return cv2.LUT(image, np.where(int(least) > _VALUES, _VALUES, 255 - _VALUES).astype(np.uint8))


def _solarize_add(image: Pixels, add: float) -> Pixels:
    added = np.minimum(_VALUES + int(add), 255)
    return cv2.LUT(image, np.where(_VALUES < _SOLARIZE_ADD_BELOW, added, _VALUES).astype(np.uint8))


def _brightness(image: Pixels, factor: float) -> Pixels:
    return _away_from(image, 0, factor)


def _contrast(image: Pixels, factor: float) -> Pixels:
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    return _away_from(image, int(mean + 0.5), factor)


def _away_from(image: Pixels, grey: int, factor: float) -> Pixels:
    """Multiplies each value's distance to `grey` by the factor; cuts fractions off, in float32."""
    blended = np.float32(grey) + np.float32(factor) * (_VALUES - grey).astype(np.float32)
    return cv2.LUT(image, np.clip(blended, 0, 255).astype(np.uint8))


def _color(image: Pixels, factor: float) -> Pixels:
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return _blended(grey, image, factor)


def _sharpness(image: Pixels, factor: float) -> Pixels:
    smooth = cv2.filter2D(image, -1, _SMOOTH)
    # Pillow's filter leaves the outermost pixels as they are.
    smooth[0], smooth[-1], smooth[:, 0], smooth[:, -1] = (
        image[0],
        image[-1],
        image[:, 0],
        image[:, -1],
    )
    return _blended(smooth, image, factor)


def _blended(from_: Pixels, to: Pixels, factor: float) -> Pixels:
    return cv2.addWeighted(to, factor, from_, 1 - factor, -0.5)


_PLAIN: dict[OperationName, Callable[[Pixels], Pixels]] = {
    "AutoContrast": _autocontrast,
    "Equalize": _equalize,
    "Invert": cv2.bitwise_not,
}
_WITH_ARGUMENT: dict[OperationName, Callable[[Pixels, float], Pixels]] = {
    "Posterize": _posterize,
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "Color": _color,
    "Contrast": _contrast,
    "Brightness": _brightness,
    "Sharpness": _sharpness,
}
