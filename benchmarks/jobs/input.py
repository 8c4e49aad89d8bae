"""Run as a stage: images a second of one way to read them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from benchmarks.jobs.mindcv_input import decoded_images, evaluated, itself, trained
from benchmarks.jobs.requests import InputJob
from benchmarks.rounds import Measured, peak_mb
from mixnet_core.data.batches import evaluation_batches, evaluation_pixels, training_batches
from mixnet_core.data.index import Index, read_index
from mixnet_core.data.pixels import decoded
from mixnet_core.processes.child import main
from mixnet_core.recipe.recipe import Recipe, load_recipe

SECONDS = 8.0


def measure(job: InputJob) -> Measured:
    recipe = load_recipe(job.recipe)
    index = read_index(Path(job.dataset), "val")
    epoch = _epochs(job, recipe, index)
    began = time.perf_counter()
    first = since = 0.0
    images = number = 0
    # Whole epochs, their beginnings included; the first batch of all is start-up.
    while not since or time.perf_counter() - since < SECONDS:
        for count in epoch(number):
            if not since:
                since = time.perf_counter()
                first = since - began
                continue
            images += count
        number += 1
    speed = images / (time.perf_counter() - since)
    return Measured(speed=speed, first_seconds=first, peak_mb=peak_mb())


def _epochs(job: InputJob, recipe: Recipe, index: Index) -> Callable[[int], Iterator[int]]:
    """Epoch -> the sizes of its batches, as they come."""
    folder, batch, threads = index.root / "val", recipe.rank_batch, job.threads
    plain = recipe.model_copy(
        update={
            "augment": recipe.augment.model_copy(update={"rand_augment": None, "erasing": None})
        }
    )

    def ours(with_recipe: Recipe) -> Callable[[int], Iterator[int]]:
        return lambda epoch: (
            len(made.positions)
            for made in training_batches(
                index, with_recipe, classes=1000, epoch=epoch, rank=0, threads=threads
            )
        )

    ways: dict[str, Callable[[int], Iterator[int]]] = {
        "mindcv training": lambda _: trained(folder, recipe, threads),
        "mindcv training in processes": lambda _: trained(folder, recipe, threads, processes=True),
        "mindcv itself": lambda _: itself(folder, recipe, threads),
        "training": ours(recipe),
        "mindcv plain training": lambda _: trained(folder, plain, threads),
        "plain training": ours(plain),
        "mindcv evaluation": lambda _: evaluated(folder, recipe, threads),
        "evaluation": lambda _: (
            len(made.positions)
            for made in evaluation_batches(
                index, index.positions, recipe, batch=batch, threads=threads
            )
        ),
        "evaluation pixels": lambda _: (
            len(made.positions)
            for made in evaluation_pixels(
                index, index.positions, recipe, batch=batch, threads=threads
            )
        ),
        "decoding, mindspore.dataset": lambda _: decoded_images(folder, threads),
        "decoding, Pillow": lambda _: _decoded(index, threads, _by_pillow),
        "decoding, OpenCV": lambda _: _decoded(index, threads, decoded),
    }
    return ways[job.case]


def _decoded(index: Index, threads: int, decode: Callable[[bytes], object]) -> Iterator[int]:
    """All images, read, decoded and nothing else, each a batch."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda path: decode((index.root / path).read_bytes()), index.paths):
            yield 1


def _by_pillow(content: bytes) -> None:
    with Image.open(io.BytesIO(content)) as image:
        image.load()


if __name__ == "__main__":
    raise SystemExit(main(measure, InputJob))
