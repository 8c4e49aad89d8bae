"""Run as a stage: writes one network with seeded weights in the forms that engines read.

weights.ckpt    for MindSpore, and for the evaluation engines
weights.npz     the same by the same names, for what does not import MindSpore
network.onnx    as the evaluation engine exports it, with the weights as inputs
"""

from __future__ import annotations

import math
from pathlib import Path

import mindspore
import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray
from pydantic import BaseModel

from benchmarks.jobs.requests import SeededJob
from mixnet_core.evaluate.onnx_export import network_graph, plain_network
from mixnet_core.processes.child import main
from mixnet_core.recipe.recipe import parse_recipe


class Seeded(BaseModel):
    """parameters: learnable ones, counted."""

    parameters: int


def write(job: SeededJob) -> Seeded:
    recipe = parse_recipe(job.recipe, "benchmark")
    classes, folder = recipe.network.num_classes or 1000, Path(job.folder)
    (folder / "network.onnx").write_bytes(network_graph(recipe, classes))
    mindspore.set_seed(0)
    net = plain_network(recipe, classes)
    draw = np.random.default_rng(0)
    values = {}
    for parameter in net.get_parameters():
        values[parameter.name] = _value(parameter.name, parameter.asnumpy(), draw)
        parameter.set_data(Tensor(values[parameter.name]))
    mindspore.save_checkpoint(net, str(folder / "weights.ckpt"))
    np.savez(folder / "weights.npz", **values)
    return Seeded(parameters=sum(int(p.size) for p in net.trainable_params()))


def _value(
    name: str, initial: NDArray[np.float32], draw: np.random.Generator
) -> NDArray[np.float32]:
    """A parameter's value, so that logits depend on the image and on every parameter.

    With MindCV's initial depthwise weights, sqrt(C) too small, and BatchNorms that have seen no
    images, the logits of two images differ by nothing but rounding: engines would agree whatever
    they did to an image.
    """
    shape = initial.shape
    kind = name.rsplit(".", 1)[-1]
    if kind == "gamma":
        return draw.uniform(0.5, 1.5, shape).astype(np.float32)
    if kind in ("beta", "moving_mean"):
        return draw.normal(0, 0.1, shape).astype(np.float32)
    if kind == "moving_variance":
        return draw.uniform(0.5, 2, shape).astype(np.float32)
    if initial.ndim == 4:
        return draw.normal(0, (2 / math.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
    return initial


if __name__ == "__main__":
    raise SystemExit(main(write, SeededJob))
