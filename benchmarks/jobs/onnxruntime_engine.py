"""Run as a stage: times inference of onnxruntime on the exported network."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from benchmarks.images.seeded_images import normalised, pixels
from benchmarks.jobs.requests import InferenceJob
from benchmarks.rounds import Measured, peak_mb, timed
from mixnet_core.processes.child import main
from mixnet_core.recipe.recipe import parse_recipe

IMAGES = "images"


def infer(job: InferenceJob) -> Measured:
    settings = parse_recipe(job.recipe, "benchmark").input
    images = normalised(pixels(job.batch, settings.image_size), settings.mean, settings.std)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    began = time.perf_counter()
    session = onnxruntime.InferenceSession(
        _with_weights(Path(job.folder), job.batch), options, ["CPUExecutionProvider"]
    )
    (logits,) = session.run(None, {IMAGES: images})
    first = time.perf_counter() - began
    seconds = timed(lambda: session.run(None, {IMAGES: images}), least=1, seconds=job.seconds)
    return Measured(
        speed=job.batch / statistics.median(seconds),
        first_seconds=first,
        peak_mb=peak_mb(),
        logits=logits[0].tolist(),
    )


def _with_weights(folder: Path, batch: int) -> bytes:
    """The exported graph for that batch, its weights constants: as inputs, onnxruntime could
    neither fold nor reorder them.
    """
    model = onnx.load(folder / "network.onnx")
    inputs = {node.name: node for node in model.graph.input}
    inputs[IMAGES].type.tensor_type.shape.dim[0].dim_value = batch
    for node in model.graph.output:
        node.type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.input[:]
    model.graph.input.append(inputs[IMAGES])
    with np.load(folder / "weights.npz") as values:
        for name in values.files:
            model.graph.initializer.append(numpy_helper.from_array(values[name], name))
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    raise SystemExit(main(infer, InferenceJob))
