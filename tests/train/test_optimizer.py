"""AdamW and momentum as their papers write them, against a few lines of numpy."""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn
from numpy.typing import NDArray

from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.train.optimizer import build_optimizer, lr_factors

RATES = [0.0, 0.01, 0.03, 0.02, 0.01]
START = np.array([[0.5, -1.0], [2.0, 0.1]])
BIAS = np.array([0.3, -0.7])


class Net(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.weight = Parameter(Tensor(START, mindspore.float32), "weight")
        self.bias = Parameter(Tensor(BIAS, mindspore.float32), "bias")


def gradients(shape: tuple[int, ...]) -> list[NDArray[np.float64]]:
    draw = np.random.default_rng(len(shape))
    return [draw.standard_normal(shape) * 10.0 ** (step - 2) for step in range(len(RATES))]


def adamw(value: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    m, v = np.zeros_like(value), np.zeros_like(value)
    for t, (rate, g) in enumerate(zip(RATES, gradients(value.shape), strict=True), 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        update = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        value = value - rate * (update + decay * value)
    return value


def momentum(value: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    m = np.zeros_like(value)
    for rate, g in zip(RATES, gradients(value.shape), strict=True):
        m = 0.9 * m + g + decay * value
        value = value - rate * m
    return value


@pytest.mark.parametrize("decay_norm_and_bias", [True, False])
@pytest.mark.parametrize(("name", "reference"), [("adamw", adamw), ("momentum", momentum)])
def test_updates_are_the_papers(name, reference, decay_norm_and_bias) -> None:  # type: ignore[no-untyped-def]
    recipe = load_recipe(
        "digits",
        {
            "optimizer.name": name,
            "optimizer.weight_decay": 0.5,
            "optimizer.decay_norm_and_bias": decay_norm_and_bias,
        },
    )
    net = Net()
    optimizer = build_optimizer(net, recipe, RATES)
    for weight, bias in zip(gradients(START.shape), gradients(BIAS.shape), strict=True):
        optimizer((Tensor(weight, mindspore.float32), Tensor(bias, mindspore.float32)))
    np.testing.assert_allclose(net.weight.asnumpy(), reference(START, 0.5), rtol=2e-5)
    spared = 0.5 if decay_norm_and_bias else 0.0
    np.testing.assert_allclose(net.bias.asnumpy(), reference(BIAS, spared), rtol=2e-5)


def moved_by(changes: dict[str, Any], gradients: list[float], rate: float) -> list[float]:
    """Where one weight that begins at 10 stands after each step."""
    net = nn.Cell()
    net.weight = Parameter(Tensor([10.0], mindspore.float32), "weight")
    recipe = load_recipe("digits", {"optimizer.weight_decay": 0.0} | changes)
    optimizer = build_optimizer(net, recipe, [rate] * len(gradients))
    found = []
    for gradient in gradients:
        optimizer((Tensor([gradient], mindspore.float32),))
        found.append(float(net.weight.asnumpy()[0]))
    return found


def test_nesterov_looks_ahead_on_a_cpu_too() -> None:
    # As torch.optim.SGD(nesterov=True) has it; momentum alone: 9.9, 9.61, 9.449, 9.2541.
    changes = {"optimizer.name": "momentum", "optimizer.nesterov": True}
    found = moved_by(changes, [1.0, 2.0, -1.0, 0.5], 0.1)
    assert found == pytest.approx([9.81, 9.349, 9.3041, 9.07869], abs=1e-5)


def test_nesterov_without_momentum_is_plain_descent() -> None:
    changes = {
        "optimizer.name": "momentum",
        "optimizer.nesterov": True,
        "optimizer.momentum": 0.0,
    }
    assert moved_by(changes, [1.0, 2.0], 0.1) == pytest.approx([9.9, 9.7], abs=1e-5)


@pytest.mark.parametrize("size", [1e-9, 1e-7, 1e-6, 1.0])
def test_adamws_epsilon_stands_where_the_formula_has_it(size: float) -> None:
    # Equal gradients: both corrected moments are the gradient's, so each step is g / (g + epsilon).
    found = moved_by({}, [size] * 3, 1.0)
    steps = -np.diff([10.0, *found])
    assert steps == pytest.approx([size / (size + 1e-8)] * 3, rel=1e-4)


class Layers(nn.Cell):
    """One weight in each place that a MixNet has."""

    NAMES = ("stem_conv.0.weight", "layers.0.a", "layers.1.a", "head_conv.0.w", "classifier.weight")

    def __init__(self) -> None:
        super().__init__()
        for number, name in enumerate(self.NAMES):
            setattr(self, f"p{number}", Parameter(Tensor(START, mindspore.float32), name=name))


def test_a_layers_rate_shrinks_with_its_distance_from_the_classifier() -> None:
    parameters = Layers().trainable_params()
    assert [parameter.name for parameter in parameters] == list(Layers.NAMES)
    assert lr_factors(parameters, 0.5) == [0.5**4, 0.5**3, 0.5**2, 0.5, 1.0]
    assert lr_factors(parameters, 1.0) == [1.0] * 5


@pytest.mark.parametrize("name", ["adamw", "momentum"])
def test_each_layer_moves_by_its_own_rate(name: str) -> None:
    recipe = load_recipe(
        "digits",
        {
            "optimizer.name": name,
            "optimizer.weight_decay": 0.5,
            "optimizer.layer_decay": 0.5,
        },
    )
    net = Layers()
    optimizer = build_optimizer(net, recipe, [0.01])
    optimizer(tuple(Tensor(START, mindspore.float32) for _ in Layers.NAMES))
    moved = [parameter.asnumpy() - START for parameter in net.trainable_params()]
    for number, step in enumerate(moved):
        np.testing.assert_allclose(step, moved[-1] * 0.5 ** (4 - number), rtol=1e-3)
