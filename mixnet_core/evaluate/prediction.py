"""What an image shows: the classes with the largest logits, and their probabilities.

Letters: N images, C classes, K of them that are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """Says what is on an image.

    Attributes:
        image: its path, or which one it is, counted from 0.
        classes: names, the most probable first; numbers in label order where the weights name
            none; empty for an image that cannot be read.
        probabilities: softmax of the logits, of the same classes, in 0..1.
        error: why the image cannot be read; "" for one that was.
    """

    image: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    error: str = ""


def best(logits: NDArray[np.float32], top: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Returns the classes with the largest logits, (N, K), and their probabilities, (N, K).

    Where logits are equal, the class with the smaller index comes first, as where they are counted.

    Args:
        logits: (N, C), finite.
        top: K, at most C.
    """
    exact = logits.astype(np.float64)
    # Less the largest, or large logits overflow.
    exponents = np.exp(exact - exact.max(axis=1, keepdims=True))
    labels = np.argsort(-exact, axis=1, kind="stable")[:, :top]
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    return labels, np.take_along_axis(probabilities, labels, axis=1)


def names_of(classes: Sequence[str] | None, num_classes: int) -> tuple[str, ...]:
    """Returns the classes' names in label order; numbers where they are not known."""
    return tuple(map(str, range(num_classes))) if classes is None else tuple(classes)
