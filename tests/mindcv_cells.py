"""Files as MindCV's train.py writes them, made of MindSpore's own cells and MindCV's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mindspore
import numpy as np
import pytest
from mindspore import Parameter, ParameterTuple, Tensor, nn
from mindspore.boost.grad_accumulation import GradientAccumulation

MakeOptimizer = Callable[[list[Parameter]], nn.Optimizer]


class Step(nn.TrainOneStepWithLossScaleCell):
    """A training cell with MindCV's counter, averages of all parameters, and accumulation."""

    def __init__(
        self,
        network: nn.Cell,
        optimizer: nn.Optimizer,
        *,
        ema: bool = False,
        accumulate: bool = False,
        dynamic: bool = False,
    ) -> None:
        scale = (
            nn.DynamicLossScaleUpdateCell(1024, 2, 2000)
            if dynamic
            else Tensor(1024.0, mindspore.float32)
        )
        super().__init__(nn.WithLossCell(network, nn.CrossEntropyLoss()), optimizer, scale)
        self.updates = Parameter(Tensor(0.0, mindspore.float32))
        if ema:
            everything = ParameterTuple(list(network.get_parameters()))
            self.ema_weight = everything.clone("ema", init="same")
        if accumulate:
            self.gradient_accumulation = GradientAccumulation(2, optimizer)


def momentum(parameters: list[Parameter]) -> nn.Optimizer:
    """As MindCV makes it: a rate per step, and groups by weight decay."""
    groups = [
        {"params": parameters[:2], "weight_decay": 0.1},
        {"params": parameters[2:], "weight_decay": 0.0},
        {"order_params": parameters},
    ]
    return nn.Momentum(groups, [0.1, 0.2, 0.3], 0.9)


def double_averages(step: Step) -> None:
    """Makes the averages other numbers than the weights."""
    for average in step.ema_weight:
        average.set_data(Tensor(average.asnumpy() * 2))


def save(cell: nn.Cell, path: Path) -> Path:
    """Writes all of a cell's parameters; owners may delete the file."""
    mindspore.save_checkpoint(cell, str(path))
    path.chmod(0o644)
    return path


def save_named(parameters: dict[str, np.ndarray], path: Path) -> Path:  # type: ignore[type-arg]
    """Writes a file of these names."""
    rows = [{"name": name, "data": Tensor(array)} for name, array in parameters.items()]
    mindspore.save_checkpoint(rows, str(path))
    path.chmod(0o644)
    return path


@dataclass(frozen=True)
class TrainedByMindcv:
    """Files of one MixNet-S for small images, of 10 classes.

    Attributes:
        folder: theirs alone.
        plain: the network alone.
        training: weights, momenta, loss scale and counters.
        averaged: and moving averages, which are twice the weights.
    """

    folder: Path
    plain: Path
    training: Path
    averaged: Path


@pytest.fixture(scope="session")
def trained_by_mindcv(tmp_path_factory: pytest.TempPathFactory) -> TrainedByMindcv:
    """Tests must not change it."""
    from mixnet_core.model.mixnet import build_model

    folder = tmp_path_factory.mktemp("mindcv")
    before = mindspore.get_context("mode")
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    try:
        mindspore.set_seed(7)
        net = build_model("s", 10, stem_stride=1)
        plain = save(net, folder / "mixnet_s-plain.ckpt")
        optimizer = momentum(net.trainable_params())
        training = save(Step(net, optimizer), folder / "mixnet_s-2_74.ckpt")
        step = Step(net, optimizer, ema=True)
        double_averages(step)
        averaged = save(step, folder / "mixnet_s-2_74-ema.ckpt")
    finally:
        mindspore.set_context(mode=before)
    return TrainedByMindcv(folder, plain, training, averaged)
