"""Run as a stage: times optimizer steps of a MixNet in one way of averaging gradients."""

from __future__ import annotations

import statistics
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, nn

from benchmarks.jobs.requests import StepJob
from benchmarks.rounds import Measured, peak_mb, timed
from mixnet_core.model.mixnet import build_model
from mixnet_core.model.ranks import average_gradients, join_ranks
from mixnet_core.processes.child import main
from mixnet_core.recipe.recipe import Recipe, parse_recipe
from mixnet_core.train.dropout import Dropout
from mixnet_core.train.optimizer import build_optimizer
from mixnet_core.train.step import MicroBatch, TrainStep
from mixnet_core.train.update import Update
from mixnet_core.train.virtual_step import VirtualStep


class _OneATensor(Update):
    """Averages gradients with one AllReduce for each of them."""

    def __init__(self, net: nn.Cell, optimizer: nn.Optimizer, recipe: Recipe) -> None:
        super().__init__(net, optimizer, recipe)
        ranks = recipe.devices.ranks
        self.reducer = nn.DistributedGradReducer(optimizer.parameters, mean=False, degree=ranks)

    def reduced(self, gradients: Any) -> Tensor:
        return self.joined(self.reducer(gradients)) * self.factor


def time_steps(job: StepJob) -> Measured:
    recipe = parse_recipe(job.recipe, "benchmark")
    count, size = recipe.devices.ranks, recipe.input.image_size
    batch = recipe.rank_batch // recipe.accumulation
    classes = recipe.network.num_classes or 1000
    ranks = join_ranks(recipe.devices.target, count)
    average_gradients(ranks)
    mindspore.set_seed(0)
    net = build_model(
        recipe.network.variant,
        classes,
        stem_stride=recipe.network.stem_stride,
        operators=job.operators,
    )
    optimizer = build_optimizer(net, recipe, [1e-3] * (job.steps + 1))
    net.set_train()
    one_a_tensor = job.averaging == "one a tensor" and count > 1
    step: TrainStep | VirtualStep = (
        VirtualStep(net, optimizer, recipe, ranks)
        if recipe.training.virtual_ranks
        else TrainStep(net, optimizer, recipe, _OneATensor if one_a_tensor else Update)
    )
    draw = np.random.default_rng(0)
    images = Tensor(draw.standard_normal((batch, 3, size, size)).astype(np.float32))
    targets = Tensor(np.eye(classes, dtype=np.float32)[draw.integers(0, classes, batch)])
    width = net.classifier.in_channels
    features, _ = Dropout(recipe, 0, features=width, depths=()).draw(epoch=0, step=0, micro_batch=0)
    micro_batch = MicroBatch(images, targets, None if features is None else Tensor(features))
    micro_batches = [micro_batch] * recipe.accumulation
    # By number, not by time: ranks wait for each other in every step.
    first, *seconds = timed(
        lambda: step(micro_batches)[0].asnumpy(), least=job.steps + 1, seconds=0
    )
    speed = recipe.training.global_batch / statistics.median(seconds)
    return Measured(speed=speed, first_seconds=first, peak_mb=peak_mb())


if __name__ == "__main__":
    raise SystemExit(main(time_steps, StepJob))
