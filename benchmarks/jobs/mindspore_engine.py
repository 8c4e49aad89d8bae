"""Run as a stage: times inference of MindSpore's graph on stock or native operators."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

from benchmarks.images.seeded_images import normalised, pixels
from benchmarks.jobs.requests import InferenceJob
from benchmarks.rounds import Measured, peak_mb, timed
from mixnet_core.checkpoints.store import load_weights
from mixnet_core.model.device import use_device
from mixnet_core.model.mixnet import build_model
from mixnet_core.processes.child import main
from mixnet_core.recipe.recipe import parse_recipe


def infer(job: InferenceJob) -> Measured:
    recipe = parse_recipe(job.recipe, "benchmark")
    use_device("CPU")
    net = build_model(
        recipe.network.variant,
        recipe.network.num_classes or 1000,
        stem_stride=recipe.network.stem_stride,
        operators=job.operators,
    ).set_train(False)
    load_weights(net, Path(job.folder) / "weights.ckpt")
    settings = recipe.input
    images = Tensor(normalised(pixels(job.batch, settings.image_size), settings.mean, settings.std))
    logits: list[NDArray[np.float32]] = []

    def call() -> None:
        logits[:] = [net(images).asnumpy()]

    (first,) = timed(call, least=1, seconds=0)
    seconds = timed(call, least=1, seconds=job.seconds)
    return Measured(
        speed=job.batch / statistics.median(seconds),
        first_seconds=first,
        peak_mb=peak_mb(),
        logits=logits[0][0].tolist(),
    )


if __name__ == "__main__":
    raise SystemExit(main(infer, InferenceJob))
