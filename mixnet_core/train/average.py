"""The mean of several checkpoints' weights, as a checkpoint of its own: `python -m` this module.

Averaged weights meet activations that none of their checkpoints had, so the averaged BatchNorm
statistics would be wrong (arXiv:1803.05407, section 3.2): they are estimated anew, as means over
batches of training images, augmented as in training. A frozen backbone's are those that came with
its weights, in every checkpoint, and stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

from mixnet_core.checkpoints.bundle import WEIGHTS
from mixnet_core.checkpoints.store import read_parameters, save_into
from mixnet_core.data.batches import training_batches
from mixnet_core.data.index import read_index
from mixnet_core.errors import CheckpointMismatch
from mixnet_core.model.device import use_device
from mixnet_core.model.mixnet import MixNet, build_model
from mixnet_core.model.variants import FLAVOURS
from mixnet_core.processes.child import beat, long_stretch, main
from mixnet_core.processes.requests import AverageRequest, AverageResult
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.storage.files import folder_aside, os_errors_explained, sha256_of, write_text

_MEAN, _VARIANCE = "moving_mean", "moving_variance"

Arrays = dict[str, NDArray[np.float32]]


def average(request: AverageRequest) -> AverageResult:
    """Writes the mean into `<request.folder>/weights.ckpt`, a folder that appears all at once.

    Args:
        request: names the files and the training images; see `AverageRequest`.

    Returns:
        The digest of the file written.

    Raises:
        CheckpointMismatch: the files are not of one network, or not of the recipe's.
        MixnetError: as `data.index.read_index` and `data.batches.training_batches` raise it.
    """
    recipe = request.recipe
    mean = mean_of([Path(file) for file in request.files])
    use_device(recipe.devices.target)
    net = build_model(
        recipe.network.variant,
        request.classes,
        recipe.network.in_channels,
        flavour=recipe.network.flavour,
        stem_stride=recipe.network.stem_stride,
        operators=request.operators,
    )
    parameters = {parameter.name: parameter for parameter in net.get_parameters()}
    if parameters.keys() != mean.keys():
        odd = sorted(parameters.keys() ^ mean.keys())
        raise CheckpointMismatch(
            f"{request.files[0]} does not fit the network: {len(odd)} parameters have other names, "
            f"the first is {odd[0]}; check variant and flavour"
        )
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(mean[name]))
    write_text(Path(request.progress), "")
    if recipe.weights.freeze != "backbone":
        estimate_statistics(net, recipe, request)
    folder = Path(request.folder)
    with folder_aside(folder) as aside, long_stretch():
        save_into(aside, {WEIGHTS: parameters})
    return AverageResult(sha256=sha256_of(folder / WEIGHTS))


def mean_of(files: Sequence[Path]) -> Arrays:
    """Computes the mean of several files' weights, parameter by parameter, added up in float64.

    Args:
        files: of weights, at least one.

    Returns:
        Parameter name -> the mean, float32.

    Raises:
        CheckpointMismatch: their names or shapes differ.
        InputError, IntegrityError: as `store.read_parameters`.
    """
    sums: dict[str, NDArray[np.float64]] = {}
    for file in files:
        found = {name: p.asnumpy() for name, p in read_parameters(file).items()}
        if sums and {n: a.shape for n, a in sums.items()} != {n: a.shape for n, a in found.items()}:
            raise CheckpointMismatch(
                f"{file} and {files[0]} are of different networks: average checkpoints of one run"
            )
        for name, values in found.items():
            sums[name] = sums.get(name, np.zeros(values.shape)) + values.astype(np.float64)
    return {name: (total / len(files)).astype(np.float32) for name, total in sums.items()}


def estimate_statistics(net: MixNet, recipe: Recipe, request: AverageRequest) -> None:
    """Replaces every moving mean and variance by the mean over batches of training images.

    Args:
        net: with the averaged weights.
        recipe: says how images are augmented, and BatchNorm's decay by its flavour.
        request: says how many images are used, and where progress is told.

    Raises:
        MixnetError: as `data.index.read_index` and `data.batches.training_batches` raise it.
    """
    statistics = [p for p in net.get_parameters() if p.name.endswith((_MEAN, _VARIANCE))]
    # A batch moves a statistic to decay * old + (1 - decay) * the batch's: where the old one is 0
    # that is the batch's own, but for the factor.
    share = 1 - FLAVOURS[recipe.network.flavour].bn_decay
    sums = [np.zeros(p.shape, np.float64) for p in statistics]
    net.set_train()
    count = done = 0
    for images in _batches(recipe, request):
        for parameter in statistics:
            parameter.set_data(Tensor(np.zeros(parameter.shape, np.float32)))
        net(Tensor(images))
        for total, parameter in zip(sums, statistics, strict=True):
            total += parameter.asnumpy().astype(np.float64) / share
        count, done = count + 1, done + len(images)
        _tell(request, done)
        beat()
    for total, parameter in zip(sums, statistics, strict=True):
        parameter.set_data(Tensor((total / count).astype(np.float32)))
    net.set_train(False)


def _batches(recipe: Recipe, request: AverageRequest) -> Iterator[NDArray[np.float32]]:
    """Yields images of batches as large as a rank's micro-batch, of an epoch training never had."""
    devices = recipe.devices.model_copy(
        update={"ranks": 1, "micro_batch": recipe.rank_batch // recipe.accumulation}
    )
    alone = recipe.model_copy(update={"devices": devices})
    size = alone.rank_batch // alone.accumulation
    index = read_index(Path(request.dataset), "train")
    batches = training_batches(
        index,
        alone,
        classes=request.classes,
        epoch=recipe.training.epochs,
        rank=0,
        threads=request.threads,
    )
    with closing(batches):
        for batch in islice(batches, -(-request.images // size)):
            yield batch.images


def _tell(request: AverageRequest, done: int) -> None:
    progress = Path(request.progress)
    with os_errors_explained(progress), progress.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"done": done, "total": max(done, request.images)}) + "\n")


if __name__ == "__main__":
    raise SystemExit(main(average, AverageRequest))
