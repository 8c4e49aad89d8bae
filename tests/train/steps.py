"""Run as a stage: a few optimizer steps on a small net, and everything that they left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn
from numpy.typing import NDArray
from pydantic import BaseModel

from mixnet_core.model.ranks import average_gradients, join_ranks
from mixnet_core.processes.child import main
from mixnet_core.processes.launch import ATTEMPT_VARIABLE
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.storage.files import write_json
from mixnet_core.train import update
from mixnet_core.train.optimizer import build_optimizer
from mixnet_core.train.step import MicroBatch, TrainStep
from mixnet_core.train.virtual_step import VirtualStep

STEPS, BATCH, PIXELS, CLASSES = 3, 8, 6, 5
RATE = 0.1


class Job(BaseModel):
    """settings: of the digits recipe. norm: with a BatchNorm, whose means depend on the division.
    spoiled: steps whose images are not numbers. scale_window: steps until the scale doubles.
    """

    settings: dict[str, Any]
    norm: bool = False
    spoiled: list[int] = []
    scale_window: int = 2000


class Outcome(BaseModel):
    """Each after the last step, flat; scales after every step. Losses are this rank's."""

    losses: list[float]
    applied: list[bool]
    scales: list[float]
    weights: dict[str, list[float]]
    averages: dict[str, list[float]]
    history: list[dict[str, list[float]]]


class Net(nn.Cell):
    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, has_bias=True)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.act = nn.ReLU()
        self.flat = nn.Flatten()
        self.classifier = nn.Dense(4 * PIXELS**2, CLASSES)

    def construct(
        self, x: Tensor, features: Tensor | None = None, paths: Tensor | None = None
    ) -> Tensor:
        return self.classifier(self.flat(self.act(self.norm(self.conv(x)))))


def flat(parameters: dict[str, Parameter]) -> dict[str, list[float]]:
    return {name: p.asnumpy().ravel().tolist() for name, p in parameters.items()}


def rank_order_of(recipe: Recipe, rank: int) -> NDArray[np.int64]:
    """Positions in the global batch: every share's are dealt out, a rank has neighbours."""
    dealt = [np.arange(share, BATCH, recipe.shares) for share in range(recipe.shares)]
    own = recipe.shares // recipe.devices.ranks
    return np.concatenate(dealt[rank * own : (rank + 1) * own])


def steps(job: Job) -> Outcome:
    update._SCALE_WINDOW = job.scale_window
    recipe = load_recipe("digits", {"training.global_batch": BATCH, **job.settings})
    ranks = join_ranks(recipe.devices.target, recipe.devices.ranks)
    average_gradients(ranks)
    mindspore.set_seed(3)
    net = Net(job.norm).set_train()
    optimizer = build_optimizer(net, recipe, [RATE] * STEPS)
    step: TrainStep | VirtualStep = (
        VirtualStep(net, optimizer, recipe, ranks)
        if recipe.training.virtual_ranks
        else TrainStep(net, optimizer, recipe)
    )
    draw = np.random.default_rng(4)
    outcome = Outcome(losses=[], applied=[], scales=[], weights={}, averages={}, history=[])
    smoothing = recipe.training.label_smoothing
    parameters = {p.name: p for p in net.get_parameters()}
    for number in range(STEPS):
        images = draw.standard_normal((BATCH, 3, PIXELS, PIXELS)).astype(np.float32)
        if number in job.spoiled:
            images[BATCH - 1] = np.nan
        targets = np.full((BATCH, CLASSES), smoothing / CLASSES, np.float32)
        targets[np.arange(BATCH), draw.integers(0, CLASSES, BATCH)] += 1 - smoothing
        mine = rank_order_of(recipe, ranks.rank)
        parts = [
            MicroBatch(Tensor(images[some]), Tensor(targets[some]))
            for some in np.split(mine, recipe.accumulation)
        ]
        loss, applied = step(parts)
        outcome.losses.append(float(loss.asnumpy()))
        outcome.applied.append(bool(applied.asnumpy()))
        scale = step.update.state().get("loss_scale")
        outcome.scales.append(float(scale.asnumpy()) if scale is not None else 0.0)
        outcome.history.append(flat(parameters))
    outcome.weights = flat(parameters)
    outcome.averages = flat(dict(zip(parameters, step.update.averages, strict=False)))
    write_json(
        Path(os.environ[ATTEMPT_VARIABLE]) / f"outcome-{ranks.rank}.json", outcome.model_dump()
    )
    return outcome


if __name__ == "__main__":
    raise SystemExit(main(steps, Job))
