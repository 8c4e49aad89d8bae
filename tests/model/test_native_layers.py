"""Networks on native operators are those on MindSpore's own: names, values, slopes, statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, nn
from numpy.typing import NDArray

from mixnet_core.model.layers import MixNetBlock, PlainLayers
from mixnet_core.model.mixnet import MixNet, build_model
from mixnet_core.model.native.choice import Operators
from mixnet_core.model.native_layers import NativeLayers
from mixnet_core.model.variants import (
    FLAVOURS,
    VARIANTS,
    Activation,
    FlavourName,
    VariantName,
)

Values = dict[str, NDArray[np.float32]]
Mode = Literal["graph", "eager"]

# Planes of at least 16 values, 64 and more a channel with this batch: BatchNorm over fewer values
# turns the last bit of a float32 into the third digit of a result.
BATCH, PIXELS, CLASSES = 8, 32, 7
# Two float32 computations of a whole network, relative to the values' scale; the worst seen is a
# quarter of it.
OUTPUTS = 2e-5
GRADIENTS = 2e-4
# ReLU's slope jumps: where z is 0 but for rounding, one of two exact networks passes on a gradient
# that the other does not. In a million values that happens once or twice.
JUMPS = 1e-2


class Smooth(PlainLayers):
    """Swish everywhere, so that equal networks have equal gradients but for rounding."""

    def norm_act(
        self, channels: int, name: Activation | None, *, squeezed_next: bool = False
    ) -> list[nn.Cell]:
        return super().norm_act(channels, name and "swish", squeezed_next=squeezed_next)

    def squeeze_excite(self, channels: int, squeezed: int, inner: Activation) -> nn.Cell:
        return super().squeeze_excite(channels, squeezed, "swish")


class SmoothNative(Smooth, NativeLayers):
    pass


@contextmanager
def computing(mode: Mode) -> Iterator[None]:
    before = mindspore.get_context("mode")
    modes = {"graph": mindspore.GRAPH_MODE, "eager": mindspore.PYNATIVE_MODE}
    mindspore.set_context(mode=modes[mode])
    try:
        yield
    finally:
        mindspore.set_context(mode=before)


def randomise(net: nn.Cell) -> None:
    """BatchNorms that neither are neutral nor equal each other, and biases that are not 0."""
    random = np.random.default_rng(1)
    for parameter in net.get_parameters():
        if parameter.ndim == 1:
            around_one = parameter.name.endswith(("gamma", "moving_variance"))
            values = random.uniform(0.5, 1.5, parameter.shape) - (0 if around_one else 1)
            parameter.set_data(Tensor(values.astype(np.float32)))


def pixels(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(2).standard_normal(shape).astype(np.float32)


def values(net: nn.Cell) -> Values:
    return {p.name: p.asnumpy().copy() for p in net.get_parameters()}


def relative(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The largest difference, as a share of the largest value."""
    assert one.shape == other.shape
    return float(np.abs(one - other).max() / np.abs(other).max())


def expect_equal_gradients(native: Values, plain: Values) -> None:
    """Shift and scale of a BatchNorm share one measure: where another BatchNorm follows, the
    shift's gradient is 0, and what is computed for it is rounding.
    """
    assert native.keys() == plain.keys()
    for name, gradient in plain.items():
        scale = np.abs(gradient).max()
        if name.endswith("beta"):
            scale = max(scale, np.abs(plain[name.removesuffix("beta") + "gamma"]).max())
        off = np.abs(native[name] - gradient).max()
        assert off <= GRADIENTS * scale, f"{name}: {off} of {scale}"


def expect_equal_statistics(native: Values, plain: Values) -> None:
    """Means are measured in deviations of their channel."""
    moved = 0
    for name, variance in plain.items():
        if name.endswith("moving_variance"):
            moved += 1
            mean = name.removesuffix("variance") + "mean"
            np.testing.assert_allclose(native[name], variance, rtol=OUTPUTS, err_msg=name)
            off = np.abs(native[mean] - plain[mean]) / np.sqrt(variance)
            assert off.max() <= OUTPUTS, mean
    assert moved


@dataclass(frozen=True)
class Outcome:
    """Of one step of training without an update."""

    net: MixNet
    logits: NDArray[np.float32]
    loss: float
    gradients: Values
    before: Values
    after: Values


def step(net: MixNet) -> Outcome:
    randomise(net)
    before, entropy = values(net), nn.CrossEntropyLoss()
    labels = Tensor(np.arange(BATCH, dtype=np.int32) % CLASSES)

    def forward(images: Tensor, labels: Tensor) -> Any:
        logits = net(images)
        return entropy(logits, labels), logits

    parameters = net.set_train().trainable_params()
    slopes = mindspore.value_and_grad(forward, None, parameters, has_aux=True)
    (loss, logits), gradients = slopes(images(), labels)
    named = {p.name: g.asnumpy() for p, g in zip(parameters, gradients, strict=True)}
    return Outcome(net, logits.asnumpy(), float(loss.asnumpy()), named, before, values(net))


def images() -> Tensor:
    return Tensor(pixels(BATCH, 3, PIXELS, PIXELS))


@dataclass(frozen=True)
class Pair:
    native: Outcome
    plain: Outcome


def expect_equal_training(pair: Pair) -> None:
    assert relative(pair.native.logits, pair.plain.logits) <= OUTPUTS
    assert pair.native.loss == pytest.approx(pair.plain.loss, rel=OUTPUTS)
    expect_equal_statistics(pair.native.after, pair.plain.after)


@pytest.fixture(scope="module", params=[("s", "mindcv"), ("s", "tf"), ("m", "timm")], ids=" ".join)
def pair(request: pytest.FixtureRequest) -> Pair:
    """Published networks, kernel by kernel: compiling a graph takes longer than running it."""
    variant, flavour = request.param

    def net(operators: Operators) -> MixNet:
        mindspore.set_seed(3)
        return build_model(
            *(variant, CLASSES),
            flavour=flavour,
            stem_stride=1,
            operators=operators,
        )

    with computing("eager"):
        return Pair(step(net("native")), step(net("plain")))


@pytest.mark.slow
def test_a_networks_logits_loss_and_statistics_are_equal_in_training(pair: Pair) -> None:
    expect_equal_training(pair)


@pytest.mark.slow
def test_a_networks_gradients_are_equal_but_for_relus_jumps(pair: Pair) -> None:
    native, plain = pair.native.gradients, pair.plain.gradients
    square = sum(float(np.square(g).sum()) for g in plain.values())
    off = sum(float(np.square(native[name] - g).sum()) for name, g in plain.items())
    assert off <= JUMPS**2 * square


@pytest.mark.slow
def test_a_step_of_training_moves_the_statistics_and_nothing_else(pair: Pair) -> None:
    for name, before in pair.native.before.items():
        unmoved = np.array_equal(before, pair.native.after[name])
        assert unmoved == ("moving_" not in name), name


@pytest.mark.slow
def test_a_networks_logits_are_equal_in_evaluation(pair: Pair) -> None:
    with computing("eager"):
        native, plain = (o.net.set_train(False)(images()) for o in (pair.native, pair.plain))
    assert relative(native.asnumpy(), plain.asnumpy()) <= OUTPUTS


@pytest.mark.slow
def test_a_smooth_networks_training_is_equal_in_a_compiled_graph() -> None:
    def net(make: PlainLayers) -> MixNet:
        mindspore.set_seed(3)
        return MixNet(VARIANTS["s"], make, CLASSES, 3, 1)

    flavour = FLAVOURS["mindcv"]
    with computing("graph"):
        pair = Pair(*[step(net(kind(flavour))) for kind in (SmoothNative, Smooth)])
    expect_equal_training(pair)
    expect_equal_gradients(pair.native.gradients, pair.plain.gradients)


@pytest.mark.parametrize(
    ("variant", "flavour"),
    [("s", "mindcv"), ("s", "tf"), ("m", "timm"), ("l", "mindcv"), ("xl", "timm")],
)
def test_parameters_have_equal_names_shapes_and_seeded_values(
    variant: VariantName, flavour: FlavourName
) -> None:
    drawn: list[Values] = []
    kinds: tuple[Operators, ...] = ("native", "plain")
    for operators in kinds:
        mindspore.set_seed(4)
        drawn.append(values(build_model(variant, 5, flavour=flavour, operators=operators)))
    assert list(drawn[0]) == list(drawn[1])
    for name, value in drawn[0].items():
        np.testing.assert_array_equal(value, drawn[1][name], name)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("flavour", ["mindcv", "tf"])
@pytest.mark.parametrize("plane", [(8, 8), (9, 6)])
def test_a_stem_pads_as_its_flavour_says(
    plane: tuple[int, int], flavour: FlavourName, stride: int
) -> None:
    results = []
    for kind in (NativeLayers, PlainLayers):
        mindspore.set_seed(6)
        stem = kind(FLAVOURS[flavour]).stem_conv(3, 16, stride)
        with computing("eager"):
            results.append(stem(Tensor(pixels(2, 3, *plane))).asnumpy())
    assert relative(*results) <= OUTPUTS


def block(make: PlainLayers, row: int, in_channels: int, stride: int) -> MixNetBlock:
    mindspore.set_seed(5)
    blocks = VARIANTS["s"].blocks
    made = MixNetBlock(in_channels, blocks[row].out_channels, blocks[row], stride, make)
    randomise(made)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False], ids=["training", "frozen"])
@pytest.mark.parametrize(
    ("row", "in_channels", "stride", "flavour"),
    [(1, 16, 2, "tf"), (3, 24, 2, "tf"), (4, 40, 1, "timm")],
    ids=["cut in two", "three kernels, gated", "residual"],
)
def test_a_compiled_blocks_results_and_slopes_are_equal(
    row: int, in_channels: int, stride: int, flavour: FlavourName, training: bool
) -> None:
    def results(make: PlainLayers) -> tuple[NDArray[np.float32], Values, Values]:
        net = block(make, row, in_channels, stride).set_train(training)
        parameters = net.trainable_params()

        def forward(x: Tensor) -> Any:
            y = net(x)
            return (y * y * y).sum(), y

        with computing("graph"):
            slopes = mindspore.value_and_grad(forward, 0, parameters, has_aux=True)
            (_, y), (by_x, gradients) = slopes(Tensor(pixels(4, in_channels, 8, 8)))
        named = {p.name: g.asnumpy() for p, g in zip(parameters, gradients, strict=True)}
        return y.asnumpy(), {"x": by_x.asnumpy(), **named}, values(net)

    native_y, native_gradients, native_after = results(SmoothNative(FLAVOURS[flavour]))
    y, gradients, after = results(Smooth(FLAVOURS[flavour]))
    assert relative(native_y, y) <= OUTPUTS
    expect_equal_gradients(native_gradients, gradients)
    if training:
        expect_equal_statistics(native_after, after)
    else:
        for name, value in after.items():
            np.testing.assert_array_equal(native_after[name], value, name)
