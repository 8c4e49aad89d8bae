"""Every layer starts as MindCV's, or its flavour's own rule, says: not as MindSpore's layers do."""

from __future__ import annotations

import math
import zlib

import mindspore
import numpy as np
import pytest
from mindspore import nn

from mixnet_core.model.mixnet import build_model
from mixnet_core.model.variants import FlavourName

# Of all of mixnet_s's parameters, in order, as MindCV's own code draws them after
# `mindspore.set_seed(42)`; MindSpore 2.10.0. How it was made: data/README.md.
MINDCVS = 417408928


def test_a_seeds_initial_weights_are_mindcvs_to_the_last_bit() -> None:
    mindspore.set_seed(42)
    checksum = 0
    for parameter in build_model("s").get_parameters():
        checksum = zlib.crc32(parameter.asnumpy().tobytes(), checksum)
    assert checksum == MINDCVS


@pytest.mark.parametrize("flavour", ["mindcv", "timm", "tf"])
def test_every_layer_starts_with_its_own_spread_and_biases_at_zero(flavour: FlavourName) -> None:
    mindspore.set_seed(1)
    net = build_model("s", flavour=flavour)
    seen = set()
    for name, cell in net.cells_and_names():
        if isinstance(cell, nn.Conv2d):
            counted = cell.out_channels
            if cell.group > 1 and flavour != "mindcv":
                counted //= cell.group
            spread = math.sqrt(2 / (cell.kernel_size[0] * cell.kernel_size[1] * counted))
            weight = cell.weight.asnumpy()
            # A sample's standard deviation is off by 1 / sqrt(2 n) of it, its mean by 1 / sqrt(n).
            assert weight.std() == pytest.approx(spread, rel=4 / math.sqrt(2 * weight.size)), name
            assert abs(weight.mean()) < 4 * spread / math.sqrt(weight.size), name
            assert not cell.has_bias or not cell.bias.asnumpy().any(), name
            seen.add("conv" if not cell.has_bias else "conv with bias")
        elif isinstance(cell, nn.Dense):
            bound = 1 / math.sqrt(1000)
            weight = cell.weight.asnumpy()
            assert 0.99 * bound < np.abs(weight).max() <= bound
            assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.01)
            assert not cell.bias.asnumpy().any()
            seen.add("dense")
        elif isinstance(cell, nn.BatchNorm2d):
            values = (cell.gamma, cell.beta, cell.moving_mean, cell.moving_variance)
            starts = [set(value.asnumpy().tolist()) for value in values]
            assert starts == [{1.0}, {0.0}, {0.0}, {1.0}], name
            seen.add("norm")
    assert seen == {"conv", "conv with bias", "dense", "norm"}


def test_layers_of_equal_shape_do_not_start_with_equal_weights() -> None:
    mindspore.set_seed(1)
    drawn = [p.asnumpy() for p in build_model("s").get_parameters() if p.ndim > 1]
    starts = {(array / array.std()).round(4).ravel()[:6].tobytes() for array in drawn}
    assert len(starts) == len(drawn)
