"""Scoring checkpoints on a split with one compiled graph. Rows of progress, one a batch:

{"event": "evaluate", "checkpoint", "checkpoints", "done", "images"}

checkpoint counts from 0; done images of its images have been scored.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from mindspore import Tensor, nn
from numpy.typing import NDArray

from mixnet_core.checkpoints.store import load_weights
from mixnet_core.data.batches import evaluation_batches
from mixnet_core.data.index import Index, read_index
from mixnet_core.errors import DatasetError, IntegrityError
from mixnet_core.evaluate.counting import Counts
from mixnet_core.files import os_errors_explained, write_text
from mixnet_core.model.device import use_device
from mixnet_core.model.mixnet import build_model
from mixnet_core.recipe import Recipe, load_recipe
from mixnet_core.values import EvaluateRequest, EvaluateResult, Score


def evaluate(request: EvaluateRequest) -> EvaluateResult:
    """Scores every weights file on the whole split, in float32, on one device.

    Raises:
        CheckpointMismatch: a file does not fit the recipe's network.
        DatasetError: the split has other classes, or an image cannot be read.
        IntegrityError: an image was not seen exactly once.
        StageFailed: a network's logits are not finite.
        MixnetError: as reading the recipe, the index and the weights raises it.
    """
    recipe = load_recipe(request.recipe)
    index = read_index(Path(request.dataset), request.split)
    _expect_labels(index, request)
    use_device(recipe.devices.target)
    net = build_model(
        recipe.network.variant,
        request.classes,
        recipe.network.in_channels,
        flavour=recipe.network.flavour,
        stem_stride=recipe.network.stem_stride,
    ).set_train(False)
    size = recipe.input.image_size
    net.compile(
        Tensor(np.zeros((request.batch, recipe.network.in_channels, size, size), np.float32))
    )
    write_text(Path(request.progress), "")
    began = time.monotonic()
    scores = tuple(
        _score(net, checkpoint, index, recipe, request)
        for checkpoint in range(len(request.weights))
    )
    seconds = time.monotonic() - began
    return EvaluateResult(
        scores=scores, images_per_second=sum(score.count for score in scores) / seconds
    )


def _score(
    net: nn.Cell, checkpoint: int, index: Index, recipe: Recipe, request: EvaluateRequest
) -> Score:
    """Scores `request.weights[checkpoint]`, whose parameters replace those in `net`."""
    weights = request.weights[checkpoint]
    load_weights(net, Path(weights))
    counts = Counts(weights)
    seen: list[int] = []
    for batch in evaluation_batches(
        index,
        recipe.input,
        recipe.network.in_channels,
        batch=request.batch,
        threads=request.threads,
    ):
        logits = net(Tensor(_padded(batch.images, request.batch))).asnumpy()
        counts.add(logits[: len(batch.labels)], batch.labels)
        seen += batch.positions.tolist()
        _tell(request, checkpoint, len(seen), len(index.paths))
    expect_each_once(seen, len(index.paths))
    return counts.score()


def _tell(request: EvaluateRequest, checkpoint: int, done: int, images: int) -> None:
    row = {"event": "evaluate", "checkpoint": checkpoint, "checkpoints": len(request.weights)}
    row |= {"done": done, "images": images}
    progress = Path(request.progress)
    with os_errors_explained(progress), progress.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def expect_each_once(seen: list[int], images: int) -> None:
    """Raises IntegrityError unless the positions seen are 0..images-1 in this order."""
    if seen != list(range(images)):
        raise IntegrityError(
            f"{len(seen)} images were scored, {len(set(seen))} of them different, expected each of "
            f"the split's {images} once and in order: report this, the figures cannot be trusted"
        )


def _padded(images: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """(N, C, S, S) -> (batch, C, S, S): a shorter last batch would compile a second graph."""
    missing = batch - len(images)
    return np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else images


def _expect_labels(index: Index, request: EvaluateRequest) -> None:
    largest = int(index.labels.max())
    if largest >= request.classes:
        raise DatasetError(
            f"{request.split} of {request.dataset} has the label {largest}, the network has "
            f"{request.classes} classes: evaluate on the dataset that it was trained for"
        )
