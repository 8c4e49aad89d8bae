"""ReLU and swish where frameworks differ: at 0, at infinity, and at what is no number."""

from __future__ import annotations

from collections.abc import Iterator

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from mixnet_core.model.layers import activation
from mixnet_core.model.mixnet import build_model
from mixnet_core.model.native.choice import Operators

NAN, INF = float("nan"), float("inf")
# More than a vector's width, so that both the kernel's vectors and its rest are asked.
REPEATS = 5


MODES = pytest.mark.parametrize("mode", ["eager", "graph"], indirect=True)


@pytest.fixture(autouse=True)
def mode(request: pytest.FixtureRequest) -> Iterator[None]:
    before = mindspore.get_context("mode")
    graph = getattr(request, "param", "eager") == "graph"
    mindspore.set_context(mode=mindspore.GRAPH_MODE if graph else mindspore.PYNATIVE_MODE)
    yield
    mindspore.set_context(mode=before)


def values(*numbers: float) -> Tensor:
    return Tensor(np.array(numbers * REPEATS, np.float32))


@MODES
@pytest.mark.parametrize("training", [True, False])
def test_relu_is_the_larger_of_x_and_0_and_has_no_slope_at_0(training: bool) -> None:
    relu, x = activation("relu").set_train(training), values(INF, -INF, 0.0, -0.0, 1.5, -1.0)
    np.testing.assert_array_equal(relu(x).asnumpy(), [INF, 0, 0, 0, 1.5, 0] * REPEATS)
    np.testing.assert_array_equal(ops.grad(relu)(x).asnumpy(), [1, 0, 0, 0, 1, 0] * REPEATS)


@MODES
def test_relu_keeps_what_is_no_number_in_training() -> None:
    relu = activation("relu").set_train()
    np.testing.assert_array_equal(relu(values(NAN, 1.0)).asnumpy(), [NAN, 1] * REPEATS)


@MODES
def test_mindspores_own_relu_makes_0_of_what_is_no_number() -> None:
    """Otherwise `layers.Relu` would not be needed any more."""
    assert nn.ReLU()(values(NAN)).asnumpy().tolist() == [0.0] * REPEATS


@MODES
def test_swish_is_x_times_its_sigmoid_with_that_functions_slope() -> None:
    swish, numbers = activation("swish"), (0.0, 1.0, -1.0, 5.0, -20.0, 90.0, -90.0)
    x = np.array(numbers * REPEATS)
    sigmoid = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(swish(values(*numbers)).asnumpy(), x * sigmoid, 1e-5, 1e-36)
    slope = sigmoid * (1 + x * (1 - sigmoid))
    np.testing.assert_allclose(ops.grad(swish)(values(*numbers)).asnumpy(), slope, 1e-5, 1e-36)


@pytest.mark.parametrize("operators", ["plain", "native"])
@pytest.mark.parametrize(
    "name",
    ["stem_conv.1.gamma", "layers.5.convs.0.grouped_conv.0.weight", "head_conv.0.weight"],
)
def test_a_weight_that_is_no_number_shows_in_the_logits_of_training(
    name: str, operators: Operators
) -> None:
    net = build_model("s", 3, operators=operators).set_train()
    parameter = {p.name: p for p in net.get_parameters()}[name]
    parameter.set_data(Tensor(np.full(parameter.shape, NAN, np.float32)))
    assert np.isnan(net(Tensor(np.ones((2, 3, 33, 33), np.float32))).asnumpy()).all()
