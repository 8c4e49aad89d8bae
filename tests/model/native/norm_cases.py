"""Calls of BatchNorm and activation, and how far rounded statistics may lead each result astray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np

from tests.model.native import oracle
from tests.model.native.case import SUMS, Case, Expected, draw
from tests.model.native.compiled import Floats
from tests.model.native.oracle import Activation, Array

# The same of a BatchNorm's few terms, x / deviation - mean / deviation + beta, each rounded twice.
NORMS = 3e-7


@dataclass(frozen=True)
class Norm:
    """Inputs of a BatchNorm; `x` in float32, everything about it in float64."""

    label: str
    activation: Activation
    x: Floats
    gamma: Floats
    beta: Floats
    dy: Floats
    dpooled: Floats
    epsilon: float = 1e-5

    def exact(self) -> list[Array]:
        return [a.astype(np.float64) for a in (self.x, self.gamma, self.beta)]

    def z_off(self, statistics: tuple[Array, Array]) -> Array:
        """How far z, summed up of x / deviation, mean / deviation and beta, may be off."""
        x, gamma, beta = self.exact()
        mean, variance = (wide(a) for a in statistics)
        terms = (np.abs(x) + np.abs(mean)) * np.abs(wide(gamma)) / np.sqrt(variance + self.epsilon)
        return NORMS * (terms + np.abs(wide(beta)))

    def z(self, statistics: tuple[Array, Array]) -> Array:
        return oracle.norm_act(*self.exact(), self.epsilon, "none", statistics).y


def wide(values: Array) -> Array:
    return values.reshape(1, -1, 1, 1)


def norm(activation: Activation, label: str, x: Floats, gamma_scale: float = 1.0) -> Norm:
    """Other inputs for x. No z is so near to 0 that rounding decides on ReLU's side of it."""
    images, channels = x.shape[:2]
    for attempt in count():
        gamma, beta, dy, dpooled = draw(
            f"{activation} {label} {attempt}",
            *((channels,), (channels,), x.shape, (images, channels, 1, 1)),
        )
        made = Norm(label, activation, x, np.float32(gamma_scale) * gamma, beta, dy, dpooled)
        statistics = own_statistics(x)
        if (np.abs(made.z(statistics)) > 3 * made.z_off(statistics)).all():
            return made
    raise AssertionError("unreachable")


def own_statistics(x: Floats) -> tuple[Array, Array]:
    exact = x.astype(np.float64)
    return exact.mean((0, 2, 3)), exact.var((0, 2, 3))


def norms(activation: Activation) -> Iterator[Norm]:
    for size in (1, 7, 8, 15, 16, 17, 31, 33, 49, 196):
        shape = (3, 5, 1, size) if size % 7 else (3, 5, size // 7, 7)
        (x,) = draw(f"norm {size}", shape)
        yield norm(activation, f"planes of {size}", x)
    (x,) = draw("norm", (4, 3, 7, 9))
    yield norm(activation, "mean 1000, deviation 1", x + 1000)
    yield norm(activation, "mean -50, deviation 0.01", x * np.float32(0.01) - 50)
    yield norm(activation, "a first value 30 deviations off", _with_first(x, 30.0))
    constant = np.full_like(x, 3.1)
    yield norm(activation, "constant channels", constant)
    (single,) = draw("single", (1, 6, 1, 1))
    yield norm(activation, "one value per channel", single)
    # z reaches a hundred, then ten thousand, where e to the z is no float any more.
    yield norm(activation, "z to 100", x, gamma_scale=40.0)
    yield norm(activation, "z to 10000", x, gamma_scale=4000.0)


def _with_first(x: Floats, value: float) -> Floats:
    changed = x.copy()
    changed[0, :, 0, 0] = value
    return changed


def norm_act(activation: Activation) -> Iterator[Case]:
    for n in norms(activation):
        epsilon = np.array([n.epsilon], np.float32)
        own = own_statistics(n.x)
        given = tuple(a.astype(np.float32) for a in own)
        channels = n.gamma.shape
        yield Case(
            n.label,
            f"norm_act_train_forward_{activation}",
            (n.x, n.gamma, n.beta, epsilon),
            (n.x.shape, n.dpooled.shape, channels, channels),
            partial(norm_act_trained, n),
        )
        yield Case(
            n.label,
            f"norm_act_infer_forward_{activation}",
            (n.x, n.gamma, n.beta, *given, epsilon),
            (n.x.shape, n.dpooled.shape),
            partial(norm_act_inferred, n, given),
        )
        yield Case(
            n.label,
            f"norm_act_train_backward_{activation}",
            (n.dy, n.dpooled, n.x, n.gamma, n.beta, *given, epsilon),
            (n.x.shape, channels, channels),
            partial(norm_act_backward, n),
        )


def norm_act_inferred(n: Norm, statistics: Sequence[Floats] | Sequence[Array]) -> list[Expected]:
    mean, variance = (a.astype(np.float64) for a in statistics)
    result = oracle.norm_act(*n.exact(), n.epsilon, n.activation, (mean, variance))
    # Swish is at most 1.1 times as steep as z; its own rounding is a share of its value.
    off = 1.1 * n.z_off((mean, variance)) + NORMS * np.abs(result.y)
    return [Expected(result.y, off), Expected(result.pooled, off.mean((2, 3), keepdims=True))]


def norm_act_trained(n: Norm) -> list[Expected]:
    own = own_statistics(n.x)
    y, pooled = norm_act_inferred(n, own)
    exact = n.x.astype(np.float64)
    about_first = np.abs(exact - wide(exact[0, :, 0, 0]))
    mean_off = 1e-7 * np.abs(own[0]) + SUMS * about_first.mean((0, 2, 3))
    # Squares are summed up about the first value.
    variance_off = SUMS * (about_first**2).mean((0, 2, 3))
    variance = own[1] + n.epsilon
    # The rounded statistics make z as wrong as they are.
    normal_off = mean_off / np.sqrt(variance) + np.abs(exact - wide(own[0])).max(
        (0, 2, 3)
    ) * variance_off / (2 * variance**1.5)
    more = wide(1.1 * np.abs(n.gamma) * normal_off)
    return [
        Expected(y.values, y.off + more),
        Expected(pooled.values, pooled.off + more),
        Expected(own[0], mean_off),
        Expected(own[1], variance_off),
    ]


def norm_act_backward(n: Norm) -> list[Expected]:
    x, gamma, beta = n.exact()
    dy, dpooled = n.dy.astype(np.float64), n.dpooled.astype(np.float64)
    exact = oracle.norm_act_gradients(dy, dpooled, x, gamma, beta, n.epsilon, n.activation)
    mean, variance = own_statistics(n.x)
    deviation = np.sqrt(wide(variance) + n.epsilon)
    normal = np.abs(x - wide(mean)) / deviation
    normal_off = NORMS * (np.abs(x) + np.abs(wide(mean))) / deviation
    # No activation here is steeper than 1.1, and no slope but ReLU's (see `norm`) than 0.5.
    delta = 1.1 * (np.abs(dy) + np.abs(dpooled) / (x.shape[2] * x.shape[3]))
    bend = 0.5 if n.activation == "swish" else 0.0
    delta_off = delta * (NORMS + bend * n.z_off((mean, variance)))
    product_off = delta_off * normal + delta * (normal_off + SUMS * normal)
    axes, scale = (0, 2, 3), np.abs(wide(gamma)) / deviation
    tilt = np.abs(wide((delta * normal).mean(axes)))
    x_off = delta_off + wide(delta_off.mean(axes)) + SUMS * wide(delta.mean(axes))
    x_off = scale * (x_off + normal * wide(product_off.mean(axes)) + (normal_off + SUMS) * tilt)
    return [
        Expected(exact[0], x_off),
        Expected(exact[1], product_off.sum(axes)),
        Expected(exact[2], (delta_off + SUMS * delta).sum(axes)),
    ]
