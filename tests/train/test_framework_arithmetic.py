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
from mixnet_core.recipe import load_recipe
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
