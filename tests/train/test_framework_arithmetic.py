"""What the step takes from MindSpore's arithmetic without saying so."""

from __future__ import annotations

from collections.abc import Iterator

import mindspore
import numpy as np
import pytest
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from numpy.typing import NDArray

from mixnet_core.data.augment.mix import soft_targets
from mixnet_core.model.device import use_device
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.train.optimizer import build_optimizer
from mixnet_core.train.step import Gradients

CLASSES = 10
MODES = pytest.mark.parametrize("mode", ["eager", "graph"], indirect=True)


@pytest.fixture(autouse=True)
def mode(request: pytest.FixtureRequest) -> Iterator[None]:
    before = mindspore.get_context("mode")
    graph = getattr(request, "param", "eager") == "graph"
    mindspore.set_context(mode=mindspore.GRAPH_MODE if graph else mindspore.PYNATIVE_MODE)
    yield
    mindspore.set_context(mode=before)


class Logits(nn.Cell):
    """Answers its parameter, whatever it is shown."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        super().__init__()
        self.rows = Parameter(Tensor(rows), name="rows")

    def construct(self, x: Tensor, features: Tensor | None, paths: Tensor | None) -> Tensor:
        return self.rows * x


def loss_and_gradient(
    rows: NDArray[np.float32], targets: NDArray[np.float32]
) -> tuple[float, NDArray[np.float32]]:
    net = Logits(rows)
    gradients = Gradients(net, ParameterTuple(net.trainable_params()), 1.0)
    loss, (gradient,) = gradients(Tensor(1.0, mindspore.float32), Tensor(targets))
    return float(loss.asnumpy()), gradient.asnumpy()


def rows_and_labels() -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    random = np.random.default_rng(0)
    rows = (random.standard_normal((6, CLASSES)) * 20).astype(np.float32)
    return rows, random.integers(0, CLASSES, 6).astype(np.int32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_mindcvs_cross_entropy_with_label_smoothing(smoothing: float) -> None:
    rows, labels = rows_and_labels()
    ours, _ = loss_and_gradient(rows, soft_targets(labels, CLASSES, smoothing, None))
    # MindCV's CrossEntropySmooth is this call.
    theirs = ops.cross_entropy(Tensor(rows), Tensor(labels), label_smoothing=smoothing)
    assert ours == pytest.approx(float(theirs.asnumpy()), rel=1e-6)


@MODES
def test_the_loss_and_its_slope_are_those_of_float64_even_for_large_logits() -> None:
    rows, labels = rows_and_labels()
    rows[0] = np.linspace(-1000, 1000, CLASSES)
    targets = soft_targets(labels, CLASSES, 0.1, None)
    loss, gradient = loss_and_gradient(rows, targets)
    wide = rows.astype(np.float64)
    largest = wide.max(-1, keepdims=True)
    powers = np.exp(wide - largest)
    logs = wide - largest - np.log(powers.sum(-1, keepdims=True))
    assert loss == pytest.approx(-(targets * logs).sum(-1).mean(), rel=1e-6)
    shares = powers / powers.sum(-1, keepdims=True)
    np.testing.assert_allclose(gradient, (shares - targets) / len(rows), rtol=1e-4, atol=1e-7)


@MODES
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("column", [0, CLASSES - 1])
def test_one_logit_that_is_no_number_or_infinite_makes_the_loss_no_number(
    value: float, column: int
) -> None:
    rows, labels = rows_and_labels()
    rows[3, column] = value
    loss, _ = loss_and_gradient(rows, soft_targets(labels, CLASSES, 0.0, None))
    assert np.isnan(loss)


class Clipping(nn.Cell):
    """The step's own expressions: see `train.update`."""

    def construct(self, norm: Tensor) -> tuple[Tensor, Tensor]:
        return ops.minimum(1.0, 2.0 / (norm + 1e-6)), ops.isfinite(norm).all()


@MODES
def test_a_norm_that_is_not_finite_is_seen_and_clips_to_nothing_but_itself() -> None:
    factors, finites = [], []
    for norm in (0.0, 1.0, 4.0, np.inf, np.nan):
        factor, finite = Clipping()(Tensor([norm], mindspore.float32))
        factors.append(float(factor.asnumpy()[0]))
        finites.append(bool(finite.asnumpy()))
    np.testing.assert_allclose(factors, [1, 1, 0.5, 0, np.nan], rtol=1e-6)
    assert finites == [True, True, True, False, False]


class ToFloat16(nn.Cell):
    def construct(self, x: Tensor) -> Tensor:
        return x.astype(mindspore.float16)


@MODES
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_a_cast_to_float16_rounds_to_the_nearest_even_and_overflows_to_infinity() -> None:
    numbers = [1 + 2**-11, 1 + 3 * 2**-11, 65504, 65519.9, 65520, -1e6, 2**-25, 2**-24 * 1.5, 1e-9]
    x = np.array(numbers, np.float32)
    expected = [1, 1 + 2**-9, 65504, 65504, np.inf, -np.inf, 0, 2**-23, 0]
    np.testing.assert_array_equal(ToFloat16()(Tensor(x)).asnumpy(), np.array(expected, np.float16))


class PlanesMeans(nn.Cell):
    """As pooling and squeeze-and-excite take them."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = ops.ReduceMean(keep_dims=True)

    def construct(self, x: Tensor) -> Tensor:
        return self.mean(x, (2, 3))


@MODES
def test_a_mean_of_float16_is_summed_in_more_than_float16() -> None:
    # The sum, 409,600, is beyond float16; so are the small parts of so many numbers.
    large = PlanesMeans()(Tensor(np.full((1, 1, 64, 64), 100, np.float16)))
    assert large.asnumpy().item() == 100
    random = np.random.default_rng(0)
    x = (random.random((1, 1, 112, 112)) + 1).astype(np.float16)
    mean = PlanesMeans()(Tensor(x)).asnumpy().item()
    assert mean == np.float16(x.mean(dtype=np.float64))


class Weight(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.weight = Parameter(Tensor([[1.0, 2.0]], mindspore.float32), name="weight")
        self.frozen = Parameter(
            Tensor([[1.0, 2.0]], mindspore.float32), name="frozen", requires_grad=False
        )


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_step_n_has_rate_n_and_a_step_beyond_the_last_is_an_error(name: str) -> None:
    net, rates = Weight(), [0.0, 0.5, 0.25]
    recipe = load_recipe(
        "digits",
        {
            "optimizer.name": name,
            # AdamW's update by a constant gradient is its sign, whatever it remembers.
            "optimizer.momentum": 0.9 if name == "adamw" else 0.0,
            "optimizer.weight_decay": 0.0,
            "optimizer.nesterov": False,
        },
    )
    optimizer = build_optimizer(net, recipe, rates)
    assert [parameter.name for parameter in optimizer.parameters] == ["weight"]
    gradient = (Tensor([[1.0, 1.0]], mindspore.float32),)
    for step, rate in enumerate(rates):
        assert int(optimizer.global_step.asnumpy().item()) == step
        before = net.weight.asnumpy().copy()
        optimizer(gradient)
        np.testing.assert_allclose(before - net.weight.asnumpy(), [[rate, rate]], rtol=1e-4)

    def step_beyond() -> None:
        optimizer(gradient)
        # Eager kernels run behind: their errors come with the values.
        net.weight.asnumpy()

    with pytest.raises(RuntimeError, match="should be in the range"):
        step_beyond()


def test_a_device_in_use_means_graph_mode() -> None:
    """MindSpore's own default is to run operator by operator."""
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    use_device("CPU")
    assert mindspore.get_context("mode") == mindspore.GRAPH_MODE


class Pair(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.weight = Parameter(Tensor([[1.0, -2.0]], mindspore.float32), name="weight")
        self.bias = Parameter(Tensor([3.0], mindspore.float32), name="bias")


def test_mindcvs_momentum_on_scaled_gradients_makes_the_same_updates() -> None:
    """Its optimizer adds the decay before it unscales, and multiplies it by the scale for that."""
    settings = {
        "optimizer.name": "momentum",
        "optimizer.weight_decay": 0.1,
        "optimizer.decay_norm_and_bias": True,
        "optimizer.nesterov": False,
    }
    ours, theirs, rates, scale = Pair(), Pair(), [0.1, 0.2, 0.05], 256.0
    optimizer = build_optimizer(ours, load_recipe("digits", settings), rates)
    parameters = theirs.trainable_params()
    mindcvs = nn.Momentum(
        [{"params": parameters, "weight_decay": 0.1}, {"order_params": parameters}],
        learning_rate=rates,
        momentum=load_recipe("digits", settings).optimizer.momentum,
        loss_scale=scale,
    )
    draw = np.random.default_rng(0)
    for _ in rates:
        gradients = [draw.standard_normal(p.shape).astype(np.float32) for p in parameters]
        optimizer(tuple(Tensor(gradient) for gradient in gradients))
        mindcvs(tuple(Tensor(gradient * np.float32(scale)) for gradient in gradients))
    for one, other in zip(ours.trainable_params(), parameters, strict=True):
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), rtol=1e-6)
    assert not np.allclose(ours.weight.asnumpy(), [[1.0, -2.0]], atol=0.05)


def test_a_batch_handed_over_is_a_copy() -> None:
    """The arrays of a batch may be used again while it still computes."""
    images = np.zeros((2, 3, 64, 64), np.float32)
    handed = Tensor(images)
    images[:] = 1
    assert not handed.asnumpy().any()
