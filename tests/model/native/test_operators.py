"""The cells around the operators against MindSpore's own, in both of its modes.

That the numbers are exact is `test_compiled`'s; here it is that they arrive at their places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from mixnet_core.model.native.operators import (
    Activation,
    MixConv,
    NormActInference,
    NormActTraining,
    Scale,
    StemConv,
)
from tests.model.native.case import draw
from tests.model.native.compiled import Floats
from tests.model.native.oracle import Padding

# Of a tensor's largest value: what two float32 computations of some hundred terms differ by.
TOLERANCE = 1e-5


@pytest.fixture(autouse=True, params=["graph", "eager"])
def mode(request: pytest.FixtureRequest) -> Iterator[None]:
    before = mindspore.get_context("mode")
    modes = {"graph": mindspore.GRAPH_MODE, "eager": mindspore.PYNATIVE_MODE}
    mindspore.set_context(mode=modes[request.param])
    yield
    mindspore.set_context(mode=before)


class Weighted(nn.Cell):
    """inputs -> the sum of a cell's outputs times fixed weights, and the outputs."""

    def __init__(self, cell: nn.Cell, weights: Sequence[Floats]) -> None:
        super().__init__()
        self.cell = cell
        self.weights = tuple(Tensor(w) for w in weights)

    def construct(self, *inputs: Tensor) -> Any:
        outputs = self.cell(*inputs)
        total = ops.zeros((), mindspore.float32)
        # A compiled graph knows no zip that says whether it is strict.
        for i in range(len(self.weights)):
            total = total + (outputs[i] * self.weights[i]).sum()
        return total, outputs


def results(cell: nn.Cell, inputs: Sequence[Floats], weights: Sequence[Floats]) -> list[Any]:
    """Outputs, then the gradients of their weighted sum by each input."""
    places = tuple(range(len(inputs)))
    slopes = mindspore.value_and_grad(Weighted(cell, weights), places, has_aux=True)
    (_, outputs), gradients = slopes(*[Tensor(i) for i in inputs])
    return [t.asnumpy() for t in (*outputs, *gradients)]


def expect_equal(
    native: nn.Cell, plain: nn.Cell, inputs: Sequence[Floats], shapes: Sequence[tuple[int, ...]]
) -> None:
    """Of two cells that return tuples of the shapes."""
    weights = draw(f"weights {shapes}", *shapes)
    pairs = zip(results(native, inputs, weights), results(plain, inputs, weights), strict=True)
    for number, (one, other) in enumerate(pairs):
        assert one.shape == other.shape
        off = np.abs(one - other).max()
        assert off <= TOLERANCE * max(np.abs(other).max(), 1e-3), f"number {number}: {off}"


class NativeMixed(nn.Cell):
    def __init__(self, parts: int, stride: int, padding: Padding) -> None:
        super().__init__()
        self.native = MixConv(parts, stride, padding)

    def construct(self, x: Tensor, *weights: Tensor) -> Any:
        return (self.native(x, weights),)


class PlainMixed(nn.Cell):
    def __init__(self, shares: tuple[int, ...], stride: int, padding: Padding) -> None:
        super().__init__()
        self.shares, self.stride = shares, stride
        self.pad_mode = "same" if padding == "same" else "pad"

    def construct(self, x: Tensor, *weights: Tensor) -> Any:
        outputs, end = [], 0
        for i in range(len(self.shares)):
            start, end = end, end + self.shares[i]
            outputs.append(
                ops.conv2d(
                    x[:, start:end],
                    weights[i],
                    stride=self.stride,
                    pad_mode=self.pad_mode,
                    padding=0 if self.pad_mode == "same" else weights[i].shape[2] // 2,
                    groups=self.shares[i],
                )
            )
        return (ops.concat(outputs, axis=1),)


@pytest.mark.parametrize(
    ("kernels", "shares", "stride", "padding"),
    [
        ((5,), (4,), 1, "symmetric"),
        ((3,), (4,), 2, "same"),
        ((3, 5, 7), (3, 2, 2), 2, "symmetric"),
        ((3, 5), (3, 2), 2, "same"),
    ],
)
def test_a_mixed_convolution_is_the_depthwise_ones_side_by_side(
    kernels: tuple[int, ...], shares: tuple[int, ...], stride: int, padding: Padding
) -> None:
    channels = sum(shares)
    inputs = draw(
        f"mixed {kernels} {stride} {padding}",
        (2, channels, 8, 6),
        *((c, 1, k, k) for c, k in zip(shares, kernels, strict=True)),
    )
    expect_equal(
        NativeMixed(len(kernels), stride, padding),
        PlainMixed(shares, stride, padding),
        inputs,
        [(2, channels, -(-8 // stride), -(-6 // stride))],
    )


class NativeStem(nn.Cell):
    def __init__(self, stride: int, kernel: int, outputs: int) -> None:
        super().__init__()
        self.native = StemConv(stride, kernel, outputs)

    def construct(self, x: Tensor, weights: Tensor) -> Any:
        return (self.native(x, weights),)


class PlainStem(nn.Cell):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def construct(self, x: Tensor, weights: Tensor) -> Any:
        pad = weights.shape[2] // 2
        return (ops.conv2d(x, weights, stride=self.stride, pad_mode="pad", padding=pad),)


@pytest.mark.parametrize(
    ("stride", "kernel", "plane"), [(1, 3, (6, 5)), (2, 3, (8, 8)), (2, 3, (7, 5)), (2, 5, (6, 9))]
)
def test_a_stem_convolution_has_gradients_by_weights_and_image(
    stride: int, kernel: int, plane: tuple[int, int]
) -> None:
    inputs = draw(f"stem {stride} {kernel} {plane}", (2, 3, *plane), (10, 3, kernel, kernel))
    shape = (2, 10, *(-(-size // stride) for size in plane))
    expect_equal(NativeStem(stride, kernel, 10), PlainStem(stride), inputs, [shape])


@pytest.mark.parametrize("strides", [(1, 2), (2, 1)])
def test_convolutions_of_equal_inputs_keep_their_own_strides(strides: tuple[int, int]) -> None:
    x, depthwise, dense = (
        Tensor(a) for a in draw("strides", (2, 3, 12, 10), (3, 1, 3, 3), (7, 3, 3, 3))
    )
    for stride in strides:
        height, width = 12 // stride, 10 // stride
        mixed = MixConv(1, stride, "symmetric")(x, (depthwise,))
        assert mixed.shape == (2, 3, height, width)
        assert StemConv(stride, 3, 7)(x, dense).shape == (2, 7, height, width)


class NativeScale(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.native = Scale()

    def construct(self, x: Tensor, gate: Tensor) -> Any:
        return (self.native(x, gate),)


class PlainScale(nn.Cell):
    def construct(self, x: Tensor, gate: Tensor) -> Any:
        return (x * gate,)


def test_a_scale_is_a_multiplication() -> None:
    inputs = draw("scale", (2, 3, 4, 5), (2, 3, 1, 1))
    expect_equal(NativeScale(), PlainScale(), inputs, [(2, 3, 4, 5)])


EPSILON = 1e-3


class PlainNorm(nn.Cell):
    """MindSpore's BatchNorm, its activation and the means of the planes."""

    def __init__(self, name: Activation, training: bool) -> None:
        super().__init__()
        self.name = name
        self.norm = ops.BatchNorm(is_training=training, epsilon=EPSILON)
        self.zeros = Tensor(np.zeros(3, np.float32))

    def activated(self, z: Tensor) -> Tensor:
        if self.name == "relu":
            return ops.relu(z)
        return z * ops.sigmoid(z) if self.name == "swish" else z


class PlainNormTraining(PlainNorm):
    def construct(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Any:
        # It moves what it is given, and does not return its own statistics on a CPU.
        y = self.activated(self.norm(x, gamma, beta, self.zeros, self.zeros)[0])
        mean = x.mean((0, 2, 3))
        off = x - mean.reshape((1, -1, 1, 1))
        return y, y.mean((2, 3), True), mean, (off * off).mean((0, 2, 3))


class PlainNormInference(PlainNorm):
    def construct(
        self, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor
    ) -> Any:
        y = self.activated(self.norm(x, gamma, beta, mean, variance)[0])
        return y, y.mean((2, 3), True)


class Frozen(nn.Cell):
    """With constant statistics: MindSpore has no gradient by them."""

    def __init__(self, cell: nn.Cell, mean: Floats, variance: Floats) -> None:
        super().__init__()
        self.cell = cell
        self.mean, self.variance = Tensor(mean), Tensor(variance)

    def construct(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Any:
        return self.cell(x, gamma, beta, self.mean, self.variance)


@pytest.mark.parametrize("name", ["none", "relu", "swish"])
def test_a_batch_norm_in_training_is_mindspores_with_its_activation(name: Activation) -> None:
    shape, means = (4, 3, 5, 4), (4, 3, 1, 1)
    inputs = draw(f"training {name}", shape, (3,), (3,))
    expect_equal(
        NormActTraining(name, EPSILON), PlainNormTraining(name, True), inputs, [shape, means]
    )


@pytest.mark.parametrize("name", ["none", "relu", "swish"])
def test_a_frozen_batch_norm_is_mindspores_with_its_activation(name: Activation) -> None:
    shape, means = (4, 3, 5, 4), (4, 3, 1, 1)
    *inputs, mean, root = draw(f"frozen {name}", shape, *[(3,)] * 4)
    variance = root**2 + np.float32(0.1)
    native, plain = (
        Frozen(cell, mean, variance)
        for cell in (NormActInference(name, EPSILON), PlainNormInference(name, False))
    )
    expect_equal(native, plain, inputs, [shape, means])
