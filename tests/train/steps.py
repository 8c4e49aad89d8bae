"""Run as a stage: a few optimizer steps on a small net without BatchNorm, whose mean is exact."""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, nn
from pydantic import BaseModel

from mixnet_core.child import main
from mixnet_core.recipe import load_recipe
from mixnet_core.train.optimizer import build_optimizer
from mixnet_core.train.ranks import join_ranks
from mixnet_core.train.step import TrainStep

STEPS, BATCH, PIXELS, CLASSES = 3, 8, 6, 5


class Job(BaseModel):
    settings: dict[str, Any]


class Outcome(BaseModel):
    losses: list[float]
    weights: dict[str, list[float]]


def steps(job: Job) -> Outcome:
    recipe = load_recipe("digits", {"training.global_batch": BATCH, **job.settings})
    ranks = join_ranks(recipe)
    mindspore.set_seed(3)
    net = nn.SequentialCell(
        nn.Conv2d(3, 4, 3, has_bias=True), nn.ReLU(), nn.Flatten(), nn.Dense(4 * PIXELS**2, CLASSES)
    )
    optimizer = build_optimizer(net, recipe, [0.1] * STEPS)
    step = TrainStep(net, optimizer, recipe).set_train()
    draw = np.random.default_rng(4)
    losses = []
    for _ in range(STEPS):
        images = draw.standard_normal((BATCH, 3, PIXELS, PIXELS)).astype(np.float32)
        labels = draw.integers(0, CLASSES, BATCH).astype(np.int32)
        mine = slice(ranks.rank, None, ranks.count)
        losses.append(float(step(Tensor(images[mine]), Tensor(labels[mine])).asnumpy()))
    weights = {p.name: p.asnumpy().ravel().tolist() for p in net.get_parameters()}
    return Outcome(losses=losses, weights=weights)


if __name__ == "__main__":
    raise SystemExit(main(steps, Job))
