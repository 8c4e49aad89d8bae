"""The gradients that operators are judged by are the slopes of the functions beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.model.native import oracle
from tests.model.native.oracle import Activation, Array, Padding

STEP = 1e-5


def expect_slopes(
    loss: Callable[[Sequence[Array]], float], at: Sequence[Array], claimed: Sequence[Array]
) -> None:
    """Central differences of `loss` by every element; their error is some STEP squared."""
    for which, gradient in enumerate(claimed):
        assert gradient.shape == at[which].shape
        slopes = np.empty_like(gradient)
        for index in np.ndindex(gradient.shape):
            sides = []
            for step in (STEP, -STEP):
                moved = [a.copy() for a in at]
                moved[which][index] += step
                sides.append(loss(moved))
            slopes[index] = (sides[0] - sides[1]) / (2 * STEP)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-7, atol=1e-8)


def drawn(*shapes: tuple[int, ...]) -> list[Array]:
    random = np.random.default_rng(5)
    return [random.standard_normal(shape) for shape in shapes]


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("plane", [(5, 6), (2, 1)])
def test_the_mixed_convolutions_gradients_are_its_slopes(
    plane: tuple[int, int], stride: int, padding: Padding
) -> None:
    height, width = plane
    x, dy, *weights = drawn(
        (2, 3, height, width),
        (2, 3, -(-height // stride), -(-width // stride)),
        *((2, 1, 3, 3), (1, 1, 5, 5)),
    )
    by_x, by_weights = oracle.mixconv_gradients(dy, x, weights, stride, padding)

    def loss(at: Sequence[Array]) -> float:
        return float((dy * oracle.mixconv(at[0], list(at[1:]), stride, padding)).sum())

    expect_slopes(loss, [x, *weights], [by_x, *by_weights])


@pytest.mark.parametrize("stride", [1, 2])
def test_the_stems_gradients_are_its_slopes(stride: int) -> None:
    size = -(-5 // stride)
    x, dy, weights = drawn((2, 2, 5, 5), (2, 3, size, size), (3, 2, 3, 3))

    def loss(at: Sequence[Array]) -> float:
        return float((dy * oracle.stem(at[0], at[1], stride)).sum())

    expect_slopes(loss, [x, weights], oracle.stem_gradients(dy, x, weights, stride))


@pytest.mark.parametrize("given", [False, True], ids=["own statistics", "given ones"])
@pytest.mark.parametrize("activation", ["none", "relu", "swish"])
def test_a_batch_norms_gradients_are_its_slopes(activation: Activation, given: bool) -> None:
    x, dy, dpooled, gamma, beta, mean = drawn((3, 2, 2, 3), (3, 2, 2, 3), (3, 2, 1, 1), *[(2,)] * 3)
    statistics = (mean, mean**2 + 0.5) if given else None

    def loss(at: Sequence[Array]) -> float:
        result = oracle.norm_act(*at, 0.1, activation, statistics)
        return float((dy * result.y).sum() + (dpooled * result.pooled).sum())

    gradients = oracle.norm_act_gradients(dy, dpooled, x, gamma, beta, 0.1, activation, statistics)
    expect_slopes(loss, [x, gamma, beta], gradients)


def test_same_padding_is_tensorflows_and_symmetric_is_half_the_kernel() -> None:
    row = np.arange(1.0, 7.0).reshape(1, 1, 1, 6)
    weights = [np.zeros((1, 1, 3, 3))]
    weights[0][0, 0, 1] = [100, 10, 1]
    # Six columns, stride 2: SAME needs one zero, at the right; the symmetric one begins with one.
    assert oracle.mixconv(row, weights, 2, "same").tolist() == [[[[123, 345, 560]]]]
    assert oracle.mixconv(row, weights, 2, "symmetric").tolist() == [[[[12, 234, 456]]]]


def test_a_dense_convolution_is_the_sum_over_channels_written_out() -> None:
    x, weights = drawn((1, 2, 4, 5), (3, 2, 3, 3))
    y = oracle.stem(x, weights, 2)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    for output, row, column in np.ndindex(3, 2, 3):
        under = padded[0, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        assert y[0, output, row, column] == pytest.approx((under * weights[output]).sum())
