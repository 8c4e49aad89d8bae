"""Run as a stage: times optimizer steps of a MixNet in one way of averaging gradients."""

from __future__ import annotations

import statistics

import mindspore
import numpy as np
from mindspore import Tensor, nn

from benchmarks.jobs import StepJob
from benchmarks.rounds import Measured, peak_mb, timed
from mixnet_core.child import main
from mixnet_core.model.mixnet import build_model
from mixnet_core.recipe import parse_recipe
from mixnet_core.train.optimizer import build_optimizer
from mixnet_core.train.ranks import join_ranks
from mixnet_core.train.step import TrainStep


def time_steps(job: StepJob) -> Measured:
    recipe = parse_recipe(job.recipe, "benchmark")
    ranks, batch, size = recipe.devices.ranks, recipe.rank_batch, recipe.input.image_size
    classes = recipe.network.num_classes or 1000
    join_ranks(recipe)
    mindspore.set_seed(0)
    net = build_model(
        recipe.network.variant,
        classes,
        stem_stride=recipe.network.stem_stride,
        drop_rate=recipe.network.drop_rate,
        operators=job.operators,
    )
    optimizer = build_optimizer(net, recipe, [1e-3] * (job.steps + 1))
    step = TrainStep(net, optimizer, recipe)
    if job.averaging == "one a tensor" and ranks > 1:
        step.mean = nn.DistributedGradReducer(optimizer.parameters, mean=True, degree=ranks)
    step.set_train()
    draw = np.random.default_rng(0)
    images = Tensor(draw.standard_normal((batch, 3, size, size)).astype(np.float32))
    labels = Tensor(draw.integers(0, classes, batch).astype(np.int32))
    # By number, not by time: ranks wait for each other in every step.
    first, *seconds = timed(lambda: step(images, labels).asnumpy(), least=job.steps + 1, seconds=0)
    speed = batch * ranks / statistics.median(seconds)
    return Measured(speed=speed, first_seconds=first, peak_mb=peak_mb())


if __name__ == "__main__":
    raise SystemExit(main(time_steps, StepJob))
