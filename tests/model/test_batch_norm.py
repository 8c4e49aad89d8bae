"""What a BatchNorm keeps and how, on both kinds of operators, against a few lines of numpy."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor, nn
from numpy.typing import NDArray

from mixnet_core.errors import RecipeError
from mixnet_core.model.layers import PlainLayers
from mixnet_core.model.native_layers import NativeLayers
from mixnet_core.model.variants import FLAVOURS, FlavourName
from mixnet_core.recipe.recipe import load_recipe

KINDS = pytest.mark.parametrize("kind", [PlainLayers, NativeLayers], ids=["plain", "native"])
# 12 values a channel: the unbiased variance is 9 % more than the biased one.
SHAPE = (3, 2, 2, 2)


pytestmark = pytest.mark.usefixtures("eager")


def norm(kind: type[PlainLayers], flavour: FlavourName) -> nn.BatchNorm2d:
    return kind(FLAVOURS[flavour]).norm_act(SHAPE[1], None)[0]


def batch(number: int) -> NDArray[np.float32]:
    random = np.random.default_rng(number)
    return (random.standard_normal(SHAPE) * 3 + 5).astype(np.float32)


def per_channel(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.reshape(1, -1, 1, 1)


@KINDS
@pytest.mark.parametrize("flavour", ["mindcv", "tf"])
def test_statistics_keep_the_decays_share_and_take_the_unbiased_variance(
    kind: type[PlainLayers], flavour: FlavourName
) -> None:
    cell, decay = norm(kind, flavour).set_train(), {"mindcv": 0.9, "tf": 0.99}[flavour]
    mean, variance = np.zeros(2), np.ones(2)
    for number in range(3):
        x = batch(number)
        cell(Tensor(x))
        mean = decay * mean + (1 - decay) * x.mean((0, 2, 3), dtype=np.float64)
        variance = decay * variance + (1 - decay) * x.var((0, 2, 3), ddof=1, dtype=np.float64)
    np.testing.assert_allclose(cell.moving_mean.asnumpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(cell.moving_variance.asnumpy(), variance, rtol=1e-5)


@KINDS
@pytest.mark.parametrize("flavour", ["mindcv", "tf"])
def test_a_batch_is_normalised_by_its_own_biased_variance_and_epsilon(
    kind: type[PlainLayers], flavour: FlavourName
) -> None:
    epsilon = {"mindcv": 1e-5, "tf": 1e-3}[flavour]
    # So narrow that the epsilons tell.
    x = batch(0) * np.float32(0.01)
    y = norm(kind, flavour).set_train()(Tensor(x)).asnumpy()
    wide = x.astype(np.float64)
    variance = per_channel(wide.var((0, 2, 3)))
    expected = (wide - per_channel(wide.mean((0, 2, 3)))) / np.sqrt(variance + epsilon)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@KINDS
def test_in_evaluation_it_normalises_by_what_it_kept_and_keeps_it(kind: type[PlainLayers]) -> None:
    cell = norm(kind, "mindcv").set_train()
    cell(Tensor(batch(0)))
    cell.set_train(False)
    mean, variance = (p.asnumpy().copy() for p in (cell.moving_mean, cell.moving_variance))
    x = batch(1)
    y = cell(Tensor(x)).asnumpy()
    expected = (x - per_channel(mean)) / np.sqrt(per_channel(variance) + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(cell.moving_mean.asnumpy(), mean)
    np.testing.assert_array_equal(cell.moving_variance.asnumpy(), variance)


def settings(size: int, stride: int, micro_batch: int) -> dict[str, object]:
    return {
        "input.image_size": size,
        "network.stem_stride": stride,
        "training.global_batch": 4,
        "devices.ranks": 1,
        "devices.micro_batch": micro_batch,
    }


@pytest.mark.parametrize(("size", "stride"), [(16, 1), (32, 2)])
def test_a_recipe_that_leaves_a_batch_norm_one_value_a_channel_is_refused(
    size: int, stride: int
) -> None:
    """Its variance is none: MindSpore keeps no number for it, and evaluation answers with that."""
    with pytest.raises(RecipeError, match="one value"):
        load_recipe("digits", settings(size, stride, 1))
    assert load_recipe("digits", settings(size, stride, 2)).accumulation == 2
    assert load_recipe("digits", settings(size + 1, stride, 1)).accumulation == 4
