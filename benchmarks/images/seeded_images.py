"""The pixels that every engine is given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Triple = tuple[float, float, float]


def pixels(batch: int, size: int) -> NDArray[np.uint8]:
    """(batch, size, size, 3) uint8, the same at every call; the first image whatever the batch."""
    return np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)


def normalised(images: NDArray[np.uint8], mean: Triple, std: Triple) -> NDArray[np.float32]:
    """(N, S, S, 3) uint8 -> (N, 3, S, S) float32."""
    scaled = (images.astype(np.float32) - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
