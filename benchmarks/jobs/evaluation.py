"""Run as a stage: times the evaluate stage's loop as it is, or its engine alone."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path

from benchmarks.jobs.pixels_in_memory import PixelsInMemory
from benchmarks.jobs.requests import EvaluationJob
from benchmarks.rounds import Measured, peak_mb
from mixnet_core.data.batches import evaluation_pixels
from mixnet_core.data.index import read_index
from mixnet_core.evaluate.scoring import evaluate
from mixnet_core.processes.child import main
from mixnet_core.processes.requests import EvaluateRequest

# 77 MB of 224 px images: more than any cache holds.
BATCHES = 8
SECONDS = 8.0


def measure(job: EvaluationJob) -> Measured:
    return _bare(job.request) if job.bare else _whole(job.request)


def _whole(request: EvaluateRequest) -> Measured:
    began = time.perf_counter()
    result = evaluate(request)
    taken = time.perf_counter() - began
    index = read_index(Path(request.dataset), request.split)
    scored = len(request.weights) * len(index.paths) / result.images_per_second
    return Measured(speed=result.images_per_second, first_seconds=taken - scored, peak_mb=peak_mb())


def _bare(request: EvaluateRequest) -> Measured:
    recipe = request.recipe
    index = read_index(Path(request.dataset), request.split)
    read = evaluation_pixels(
        index,
        index.positions,
        recipe,
        batch=request.batch,
        threads=request.threads,
    )
    batches = [batch.images.copy() for batch in islice(read, BATCHES)]
    began = time.perf_counter()
    engine = PixelsInMemory(recipe, batches, threads=request.threads)
    engine.load(Path(request.weights[0]))
    first = time.perf_counter() - began
    speed = engine.images_per_second(SECONDS)
    return Measured(speed=speed, first_seconds=first, peak_mb=peak_mb())


if __name__ == "__main__":
    raise SystemExit(main(measure, EvaluationJob))
