"""Mixup, cutmix and soft targets of a batch.

Letters: N images, C channels, S pixels.

It follows timm's Mixup in batch mode (timm/data/mixup.py), of which MindCV's is a copy: there is
one draw per batch, and image i from the front mixes with image i from the end. Where images are odd
in number, both refuse; here the one in the middle stays as it is, as if mixed with itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mixnet_core.data.augment.draws import Box
from mixnet_core.recipe.sections import Mix


@dataclass(frozen=True)
class MixDraw:
    """Says how a batch is mixed.

    Attributes:
        share: how much of itself an image and its target keep, 0..1.
        box: cutmix: the part that comes from the partner, 1 - share of the area; None: mixup.
    """

    share: float
    box: Box | None


def draw_mix(mix: Mix, generator: Generator, size: int) -> MixDraw | None:
    """Draws how a batch is mixed; None: it is not.

    The share is Beta(alpha, alpha). Cutmix's box has 1 - share of a square's area, its middle is
    uniform, what reaches beyond the edge is cut off, and the share is then that of the real box.
    """
    if generator.random() >= mix.probability:
        return None
    cut = mix.mixup_alpha == 0
    if mix.mixup_alpha > 0 and mix.cutmix_alpha > 0:
        cut = bool(generator.random() < mix.switch_probability)
    alpha = mix.cutmix_alpha if cut else mix.mixup_alpha
    share = float(generator.beta(alpha, alpha))
    if not cut:
        return MixDraw(share, None)
    half = int(size * math.sqrt(1 - share)) // 2
    top, bottom = _span(int(generator.integers(size)), half, size)
    left, right = _span(int(generator.integers(size)), half, size)
    box = Box(left, top, right - left, bottom - top)
    return MixDraw(1 - box.area / (size * size), box)


def mix_images(images: NDArray[np.float32], drawn: MixDraw) -> None:
    """Mixes (N, C, S, S) images in place, after normalising and erasing."""
    box, count = drawn.box, len(images)
    keep, give = np.float32(drawn.share), np.float32(1 - drawn.share)
    # In pairs, which need no copy of the batch.
    for first, second in zip(images[: count // 2], images[::-1][: count // 2], strict=True):
        if box is not None:
            rows = slice(box.top, box.top + box.height)
            columns = slice(box.left, box.left + box.width)
            swapped = first[:, rows, columns].copy()
            first[:, rows, columns] = second[:, rows, columns]
            second[:, rows, columns] = swapped
        else:
            given = first * give
            first *= keep
            first += second * give
            second *= keep
            second += given


def soft_targets(
    labels: NDArray[np.int32], classes: int, smoothing: float, drawn: MixDraw | None
) -> NDArray[np.float32]:
    """Makes targets of labels: (1 - smoothing) * one-hot + smoothing / classes.

    Where images are mixed, a row is `share` of its own and 1 - `share` of its partner's. Rows sum
    to 1.

    Args:
        labels: (N,) int32.
        classes: width of the targets.

    Returns:
        (N, classes) float32.
    """
    targets = np.full((len(labels), classes), smoothing / classes, np.float32)
    targets[np.arange(len(labels)), labels] = 1 - smoothing + smoothing / classes
    if drawn is None:
        return targets
    return np.float32(drawn.share) * targets + np.float32(1 - drawn.share) * targets[::-1]


def _span(middle: int, half: int, size: int) -> tuple[int, int]:
    return max(middle - half, 0), min(middle + half, size)
