"""Scoring checkpoints on a split with one engine. Rows of progress, one a batch:

{"event": "evaluate", "checkpoint", "checkpoints", "done", "images"}

checkpoint counts from 0; done images of its images have been scored.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from mixnet_core.child import beat
from mixnet_core.data.index import Index, read_index
from mixnet_core.errors import DatasetError, IntegrityError
from mixnet_core.evaluate.counting import Counts
from mixnet_core.evaluate.engines import Engine, open_engine
from mixnet_core.files import os_errors_explained, write_text
from mixnet_core.recipe import load_recipe
from mixnet_core.values import EvaluateRequest, EvaluateResult, Score


def evaluate(request: EvaluateRequest) -> EvaluateResult:
    """Scores every weights file on the whole split, in float32, on one device.

    Raises:
        CheckpointMismatch: a file does not fit the recipe's network.
        DatasetError: the split has other classes, or an image cannot be read.
        IntegrityError: an image was not seen exactly once.
        StageFailed: a network's logits are not finite.
        MixnetError: as reading the recipe, the index and the weights, and opening the engine raise
            it.
    """
    recipe = load_recipe(request.recipe)
    index = read_index(Path(request.dataset), request.split)
    _expect_labels(index, request)
    engine = open_engine(recipe, request.classes, batch=request.batch, threads=request.threads)
    write_text(Path(request.progress), "")
    scores, seconds = [], 0.0
    for checkpoint, weights in enumerate(request.weights):
        engine.load(Path(weights))
        began = time.monotonic()
        scores.append(_score(engine, checkpoint, index, request))
        seconds += time.monotonic() - began
    return EvaluateResult(
        scores=tuple(scores),
        images_per_second=sum(score.count for score in scores) / seconds,
        engine=engine.name,
    )


def _score(engine: Engine, checkpoint: int, index: Index, request: EvaluateRequest) -> Score:
    """Scores `request.weights[checkpoint]`, which `engine` has loaded."""
    counts = Counts(request.weights[checkpoint])
    seen: list[int] = []
    for answers in engine.answers(index):
        counts.add(answers.logits, answers.labels)
        seen += answers.positions.tolist()
        _tell(request, checkpoint, len(seen), len(index.paths))
        beat()
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


def _expect_labels(index: Index, request: EvaluateRequest) -> None:
    largest = int(index.labels.max())
    if largest >= request.classes:
        raise DatasetError(
            f"{request.split} of {request.dataset} has the label {largest}, the network has "
            f"{request.classes} classes: evaluate on the dataset that it was trained for"
        )
