"""Predicting with one engine: every process takes its share of the split.

Process 0 writes rows of progress, one per batch:

{"event": "evaluate", "checkpoint", "checkpoints", "done", "images"}

checkpoint counts from 0; done of its images have been predicted, by all processes together.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.index import Index, read_index
from mixnet_core.errors import DatasetError
from mixnet_core.evaluate.counting import JUDGED, Judged, judge
from mixnet_core.evaluate.engine import Engine, open_engine
from mixnet_core.evaluate.prediction_files import write_predictions
from mixnet_core.model.ranks import Ranks, join_ranks
from mixnet_core.processes.child import beat, long_stretch, slow_at_first
from mixnet_core.processes.requests import EvaluateRequest, EvaluateResult
from mixnet_core.storage.files import os_errors_explained, write_text


def evaluate(request: EvaluateRequest) -> EvaluateResult:
    """Judges every weights file's logits, in float32, for this process's images.

    Raises:
        CheckpointMismatch: a file does not fit the recipe's network.
        DatasetError: the split has other classes, or an image cannot be read.
        JobFailed: a network's logits are not finite.
        MixnetError: as reading the recipe, the index and the weights, joining the processes and
            opening the engine raise it.
    """
    recipe = request.recipe
    ranks = join_ranks(recipe.devices.target, request.workers, each=request.each)
    index = read_index(Path(request.dataset), request.split)
    _expect_labels(index, request)
    positions = share(len(index.paths), ranks)
    engine = open_engine(
        recipe,
        request.classes,
        batch=request.batch,
        threads=request.threads,
        suffix=Path(request.weights[0]).suffix,
    )
    if ranks.writes:
        write_text(Path(request.progress), "")
    seconds = 0.0
    for checkpoint, weights in enumerate(request.weights):
        # An engine may compile a graph for them.
        with long_stretch():
            engine.load(Path(weights), ema=request.ema)
        began = time.monotonic()
        rows = _judged(engine, checkpoint, index, positions, request, ranks)
        seconds += time.monotonic() - began
        write_predictions(request, checkpoint, ranks.rank, rows)
    return EvaluateResult(
        images_per_second=len(request.weights) * len(index.paths) / seconds, engine=engine.name
    )


def share(images: int, ranks: Ranks) -> NDArray[np.int32]:
    """Returns the positions of a process's images: neighbours, which lie together on the disk."""
    # Rounded up: the first one, whose time is taken, is not the one with none.
    first, last = (-(-rank * images // ranks.count) for rank in (ranks.rank, ranks.rank + 1))
    return np.arange(first, last, dtype=np.int32)


def _judged(
    engine: Engine,
    checkpoint: int,
    index: Index,
    positions: NDArray[np.int32],
    request: EvaluateRequest,
    ranks: Ranks,
) -> Judged:
    """Judges the logits of `request.weights[checkpoint]`, which `engine` has loaded."""
    parts, done = [np.empty(0, JUDGED)], 0
    for batch in slow_at_first(engine.logits(index, positions)):
        if request.columns is not None:
            batch = replace(batch, logits=batch.logits[:, request.columns])
        parts.append(judge(batch, request.weights[checkpoint]))
        done += len(batch.positions)
        if ranks.writes:
            # The others are about as far.
            together = done * len(index.paths) // len(positions)
            _tell(request, checkpoint, together, len(index.paths))
        beat()
    return np.concatenate(parts)


def _tell(request: EvaluateRequest, checkpoint: int, done: int, images: int) -> None:
    row = {"event": "evaluate", "checkpoint": checkpoint, "checkpoints": len(request.weights)}
    row |= {"done": done, "images": images}
    progress = Path(request.progress)
    with os_errors_explained(progress), progress.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _expect_labels(index: Index, request: EvaluateRequest) -> None:
    largest = int(index.labels.max())
    if largest >= request.classes:
        raise DatasetError(
            f"{request.split} of {request.dataset} has the label {largest}, the network has "
            f"{request.classes} classes: evaluate on the dataset that it was trained for"
        )
