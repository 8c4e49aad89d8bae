"""Every parameter of a real MixNet moves by the formula, under each combination of options."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import mindspore
import numpy as np
import pytest
from mindspore import Tensor
from numpy.typing import NDArray

from mixnet_core.model.mixnet import MixNet, build_model
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.train.learner import freeze_backbone
from mixnet_core.train.optimizer import build_optimizer

RATES = [0.05, 0.1]
DECAY = 0.5
Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Given:
    """Weights by the network's real names, none of them near 0, and gradients, a set a step."""

    weights: Arrays
    gradients: tuple[Arrays, ...]


@pytest.fixture(scope="module")
def given() -> Iterator[Given]:
    before = mindspore.get_context("mode")
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    draw = np.random.default_rng(0)
    shapes = {
        parameter.name: parameter.shape for parameter in build_model("s", 10).get_parameters()
    }
    yield Given(
        weights={
            name: (draw.uniform(0.5, 1, shape) * draw.choice([-1, 1])).astype(np.float32)
            for name, shape in shapes.items()
        },
        gradients=tuple(
            {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
            for _ in RATES
        ),
    )
    mindspore.set_context(mode=before)


def recipe_with(
    name: str, *, norm: bool, layer_decay: float, frozen: bool, **more: object
) -> Recipe:
    return load_recipe(
        "digits",
        {
            "optimizer.name": "adamw" if name == "adamw" else "momentum",
            "optimizer.nesterov": name == "nesterov",
            "optimizer.weight_decay": DECAY,
            "optimizer.decay_norm_and_bias": norm,
            "optimizer.layer_decay": layer_decay,
            "weights.name": "any",
            "weights.freeze": "backbone" if frozen else "nothing",
            **more,
        },
    )


def network(weights: Arrays, recipe: Recipe) -> MixNet:
    net = build_model("s", 10)
    for parameter in net.get_parameters():
        parameter.set_data(Tensor(weights[parameter.name]))
    if recipe.weights.freeze == "backbone":
        freeze_backbone(net)
    return net


def moved(given: Given, recipe: Recipe) -> Arrays:
    """All parameters after the steps of RATES."""
    net = network(given.weights, recipe)
    optimizer = build_optimizer(net, recipe, RATES)
    for gradients in given.gradients:
        optimizer(tuple(Tensor(gradients[p.name]) for p in net.trainable_params()))
    return {parameter.name: parameter.asnumpy() for parameter in net.get_parameters()}


def layer_of(name: str) -> int:
    """Counts from the stem; MixNet-S has 16 blocks between stem and head."""
    parts = name.split(".")
    if parts[0] == "layers":
        return int(parts[1]) + 1
    return {"stem_conv": 0, "head_conv": 17, "classifier": 18}[parts[0]]


def expected(given: Given, recipe: Recipe, name: str) -> NDArray[np.float64]:
    """One parameter by the formula, in float64."""
    settings, value = recipe.optimizer, given.weights[name].astype(np.float64)
    frozen = recipe.weights.freeze == "backbone" and not name.startswith("classifier.")
    if frozen or name.endswith(("moving_mean", "moving_variance")):
        return value
    decay = DECAY if settings.decay_norm_and_bias or value.ndim > 1 else 0.0
    factor = settings.layer_decay ** (18 - layer_of(name))
    mu, m, v = settings.momentum, np.zeros_like(value), np.zeros_like(value)
    for t, rate in enumerate(RATES, 1):
        g = given.gradients[t - 1][name].astype(np.float64)
        if settings.name == "adamw":
            m, v = mu * m + (1 - mu) * g, 0.999 * v + 0.001 * g * g
            update = (m / (1 - mu**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) + decay * value
        else:
            g = g + decay * value
            m = mu * m + g
            update = g + mu * m if settings.nesterov else m
        value = value - rate * factor * update
    return value


@pytest.mark.parametrize(
    ("name", "norm", "layer_decay", "frozen"),
    list(product(["momentum", "nesterov", "adamw"], [True, False], [1.0, 0.9], [False, True])),
)
def test_each_parameter_moves_and_decays_as_the_recipe_says(
    given: Given, name: str, norm: bool, layer_decay: float, frozen: bool
) -> None:
    recipe = recipe_with(name, norm=norm, layer_decay=layer_decay, frozen=frozen)
    found = moved(given, recipe)
    assert len([n for n in found if "beta" in n or "gamma" in n]) > 90
    for parameter, value in found.items():
        np.testing.assert_allclose(
            value, expected(given, recipe, parameter), rtol=2e-5, atol=2e-6, err_msg=parameter
        )


def test_a_run_that_began_by_rules_1_still_spares_batchnorm(given: Given) -> None:
    options = {"norm": True, "layer_decay": 1.0, "frozen": False}
    before = moved(given, recipe_with("momentum", **options, rules=1))
    without = recipe_with("momentum", **options | {"norm": False})
    norms = [name for name in before if name.endswith((".gamma", ".beta"))]
    assert len(norms) > 90
    for name in norms:
        np.testing.assert_allclose(before[name], expected(given, without, name), rtol=2e-5)
