"""A stage that trains a small MixNet on native operators, alone or with other ranks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import mindspore
import numpy as np
from mindspore import Parameter, Tensor
from pydantic import BaseModel

from mixnet_core.model.mixnet import MixNet
from mixnet_core.model.native_layers import NativeLayers
from mixnet_core.model.ranks import average_gradients, join_ranks
from mixnet_core.model.variants import FLAVOURS, VARIANTS, Variant
from mixnet_core.processes.child import main
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.storage.files import write_json
from mixnet_core.train.optimizer import build_optimizer
from mixnet_core.train.step import MicroBatch, TrainStep

STEPS, BATCH, PIXELS, CLASSES = 5, 8, 16, 5
# One block of each kind: a whole network takes ten times as long to compile.
_SMALL = Variant(8, tuple(VARIANTS["s"].blocks[row] for row in (0, 2, 5, 10)), 0.4, 64)


class Job(BaseModel):
    """folder: where every rank leaves `rank-N.json`, its Outcome."""

    folder: str
    ranks: int


class Outcome(BaseModel):
    """Digests of all bits of what was learned, and of the BatchNorms' statistics."""

    losses: list[float]
    weights: str
    statistics: str
    threads: str
    cores: list[int]


def digest(parameters: Iterable[Parameter]) -> str:
    found = hashlib.sha256()
    for parameter in parameters:
        found.update(parameter.asnumpy().tobytes())
    return found.hexdigest()


def steps(job: Job) -> Outcome:
    settings = {
        "training.global_batch": BATCH,
        "training.batch_statistics": "local",
        "devices.ranks": job.ranks,
    }
    recipe = load_recipe("digits", settings)
    ranks = join_ranks(recipe.devices.target, recipe.devices.ranks)
    average_gradients(ranks)
    mindspore.set_seed(3)
    net = MixNet(_SMALL, NativeLayers(FLAVOURS["mindcv"]), CLASSES, 3, 1)
    net.set_train()
    step = TrainStep(net, build_optimizer(net, recipe, [0.01] * STEPS), recipe)
    draw, losses = np.random.default_rng(4), []
    for _ in range(STEPS):
        images = draw.standard_normal((BATCH, 3, PIXELS, PIXELS)).astype(np.float32)
        targets = np.eye(CLASSES, dtype=np.float32)[draw.integers(0, CLASSES, BATCH)]
        mine = slice(ranks.rank, None, ranks.count)
        loss, _ = step([MicroBatch(Tensor(images[mine]), Tensor(targets[mine]))])
        losses.append(float(loss.asnumpy()))
    outcome = Outcome(
        losses=losses,
        weights=digest(net.trainable_params()),
        statistics=digest(p for p in net.get_parameters() if "moving_" in p.name),
        threads=os.environ["OMP_NUM_THREADS"],
        cores=sorted(os.sched_getaffinity(0)),
    )
    write_json(Path(job.folder) / f"rank-{ranks.rank}.json", outcome.model_dump())
    return outcome


if __name__ == "__main__":
    raise SystemExit(main(steps, Job))
