"""Run as a stage: times optimizer steps of MixNet-S in one way of averaging gradients."""

from __future__ import annotations

import time
from typing import Literal

import mindspore
import numpy as np
from mindspore import Tensor, nn
from pydantic import BaseModel

from mixnet_core.child import main
from mixnet_core.model.mixnet import build_model
from mixnet_core.recipe import load_recipe
from mixnet_core.train.optimizer import build_optimizer
from mixnet_core.train.ranks import join_ranks
from mixnet_core.train.step import TrainStep

Averaging = Literal["joined", "one a tensor"]


class Job(BaseModel):
    ranks: int
    averaging: Averaging
    steps: int
    image_size: int
    global_batch: int


class Timing(BaseModel):
    """Seconds: of the first step, which compiles, and of each one after it."""

    first: float
    steps: list[float]


def time_steps(job: Job) -> Timing:
    recipe = load_recipe(
        "digits",
        {
            "devices.ranks": job.ranks,
            "training.global_batch": job.global_batch,
            "input.image_size": job.image_size,
        },
    )
    join_ranks(recipe)
    mindspore.set_seed(0)
    net = build_model("s", 10, stem_stride=recipe.network.stem_stride)
    optimizer = build_optimizer(net, recipe, [1e-3] * (job.steps + 1))
    step = TrainStep(net, optimizer, recipe)
    if job.averaging == "one a tensor" and job.ranks > 1:
        step.mean = nn.DistributedGradReducer(optimizer.parameters, mean=True, degree=job.ranks)
    step.set_train()
    size = (recipe.rank_batch, 3, job.image_size, job.image_size)
    images = Tensor(np.random.default_rng(0).standard_normal(size).astype(np.float32))
    labels = Tensor(np.zeros(recipe.rank_batch, np.int32))
    seconds = []
    for _ in range(job.steps + 1):
        began = time.perf_counter()
        step(images, labels).asnumpy()
        seconds.append(time.perf_counter() - began)
    return Timing(first=seconds[0], steps=seconds[1:])


if __name__ == "__main__":
    raise SystemExit(main(time_steps, Job))
