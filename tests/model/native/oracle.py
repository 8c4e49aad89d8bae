"""What the operators compute, from the definitions, in NumPy and float64.

Letters: N images, C channels, H and W rows and columns, s stride, k kernel size, OH = ceil(H / s).
Every array is (N, C, H, W) or, one value per channel, (C,); weights are (O, C, k, k).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]
Padding = Literal["symmetric", "same"]
Activation = Literal["none", "relu", "swish"]


def windows(x: Array, kernel: int, stride: int, padding: Padding) -> Array:
    """(N, C, OH, OW, k, k): the values under the kernel at each place, 0 beyond the border."""
    axes = [_borders(size, kernel, stride, padding) for size in x.shape[2:]]
    padded = np.pad(x, [(0, 0), (0, 0), *axes])
    return sliding_window_view(padded, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]


def _borders(size: int, kernel: int, stride: int, padding: Padding) -> tuple[int, int]:
    """Zeros before and after. SAME: just enough for ceil(size / stride) places, the odd one last;
    symmetric: k // 2 on both sides.
    """
    if padding == "symmetric":
        return kernel // 2, kernel // 2
    places = -(-size // stride)
    total = max((places - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def mixconv(x: Array, weights: list[Array], stride: int, padding: Padding) -> Array:
    """Each part of the channels under its own depthwise weights (c, 1, k, k): (N, C, OH, OW)."""
    return np.concatenate(
        [
            np.einsum("nchwij,cij->nchw", windows(part, w.shape[2], stride, padding), w[:, 0])
            for part, w in zip(_parts(x, weights), weights, strict=True)
        ],
        axis=1,
    )


def mixconv_gradients(
    dy: Array, x: Array, weights: list[Array], stride: int, padding: Padding
) -> tuple[Array, list[Array]]:
    """Of sum(dy * mixconv(x, weights)): by x, and by each of the weights."""
    by_x, by_weights = [], []
    parts = zip(_parts(dy, weights), _parts(x, weights), weights, strict=True)
    for delta, part, w in parts:
        under = windows(part, w.shape[2], stride, padding)
        by_weights.append(np.einsum("nchwij,nchw->cij", under, delta)[:, None])
        spread = np.einsum("nchw,cij->nchwij", delta, w[:, 0])
        by_x.append(_gathered(spread, part.shape, stride, padding))
    return np.concatenate(by_x, axis=1), by_weights


def _parts(x: Array, weights: list[Array]) -> list[Array]:
    return np.split(x, np.cumsum([len(w) for w in weights])[:-1], axis=1)


def _gathered(spread: Array, shape: tuple[int, ...], stride: int, padding: Padding) -> Array:
    """The transpose of `windows`: each place's values added up where they were taken from."""
    _, _, rows, columns, kernel, _ = spread.shape
    (top, bottom), (left, right) = (_borders(n, kernel, stride, padding) for n in shape[2:])
    padded = np.zeros((*shape[:2], shape[2] + top + bottom, shape[3] + left + right))
    for i in range(kernel):
        for j in range(kernel):
            padded[
                :,
                :,
                i : i + (rows - 1) * stride + 1 : stride,
                j : j + (columns - 1) * stride + 1 : stride,
            ] += spread[..., i, j]
    return padded[:, :, top : top + shape[2], left : left + shape[3]]


def stem(x: Array, weights: Array, stride: int) -> Array:
    """A dense convolution, padding k // 2: (N, O, OH, OW)."""
    under = windows(x, weights.shape[2], stride, "symmetric")
    return np.einsum("nchwij,ocij->nohw", under, weights, optimize=True)


def stem_gradients(dy: Array, x: Array, weights: Array, stride: int) -> tuple[Array, Array]:
    """Of sum(dy * stem(x, weights)): by x and by weights."""
    under = windows(x, weights.shape[2], stride, "symmetric")
    spread = np.einsum("nohw,ocij->nchwij", dy, weights, optimize=True)
    by_weights = np.einsum("nohw,nchwij->ocij", dy, under, optimize=True)
    return _gathered(spread, x.shape, stride, "symmetric"), by_weights


ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "none": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "swish": lambda z: z * _sigmoid(z),
}
SLOPES: dict[Activation, Callable[[Array], Array]] = {
    "none": np.ones_like,
    "relu": lambda z: (z > 0).astype(np.float64),
    "swish": lambda z: _sigmoid(z) * (1 + z * (1 - _sigmoid(z))),
}


def _sigmoid(z: Array) -> Array:
    # e to a positive number would overflow.
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, small) / (1 + small)


class Normalised(NamedTuple):
    """y (N, C, H, W), the means of its planes (N, C, 1, 1), statistics (C,) with biased variance"""

    y: Array
    pooled: Array
    mean: Array
    variance: Array


def norm_act(
    x: Array,
    gamma: Array,
    beta: Array,
    epsilon: float,
    activation: Activation,
    statistics: tuple[Array, Array] | None = None,
) -> Normalised:
    """BatchNorm over its own statistics, or over given ones (mean, variance); then activation."""
    mean, variance = statistics or (x.mean((0, 2, 3)), x.var((0, 2, 3)))
    normal = (x - _wide(mean)) / np.sqrt(_wide(variance) + epsilon)
    y = ACTIVATIONS[activation](normal * _wide(gamma) + _wide(beta))
    return Normalised(y, y.mean((2, 3), keepdims=True), mean, variance)


def norm_act_gradients(
    dy: Array,
    dpooled: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    epsilon: float,
    activation: Activation,
    statistics: tuple[Array, Array] | None = None,
) -> tuple[Array, Array, Array]:
    """Of sum(dy * y) + sum(dpooled * pooled): by x, gamma and beta.

    Given statistics are constants; its own depend on x.
    """
    mean, variance = statistics or (x.mean((0, 2, 3)), x.var((0, 2, 3)))
    deviation = np.sqrt(_wide(variance) + epsilon)
    normal = (x - _wide(mean)) / deviation
    z = normal * _wide(gamma) + _wide(beta)
    dz = (dy + dpooled / (x.shape[2] * x.shape[3])) * SLOPES[activation](z)
    by_normal = dz * _wide(gamma)
    if statistics is None:
        by_normal = by_normal - by_normal.mean((0, 2, 3), keepdims=True)
        by_normal -= normal * (by_normal * normal).mean((0, 2, 3), keepdims=True)
    return by_normal / deviation, (dz * normal).sum((0, 2, 3)), dz.sum((0, 2, 3))


def _wide(values: Array) -> Array:
    return values.reshape(1, -1, 1, 1)
