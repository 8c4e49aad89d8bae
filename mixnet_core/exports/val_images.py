"""The images that an export is proven on, and those that eight bits are calibrated on.

Letters: N images of a batch, S pixels, C channels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.batches import PixelBatch, evaluation_pixels
from mixnet_core.data.index import Index, read_index
from mixnet_core.errors import InputError
from mixnet_core.processes.child import beat
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.storage.files import os_errors_explained

# Of a proof; any number gives the same logits but for their last bits.
BATCH = 64


def val_batches(
    dataset: str, recipe: Recipe, *, threads: int, progress: str
) -> Iterator[PixelBatch]:
    """Yields the val split in its order, and says how far it is."""
    index = read_index(Path(dataset), "val")
    positions = np.arange(len(index.paths), dtype=np.int32)
    done = 0
    pixels = evaluation_pixels(index, positions, recipe, batch=BATCH, threads=threads)
    with closing(pixels):
        for batch in pixels:
            yield batch
            done += len(batch.positions)
            tell(progress, done, len(positions))
            beat()


def training_pixels(dataset: str, recipe: Recipe, count: int, *, threads: int) -> NDArray[np.uint8]:
    """Returns (N, S, S, C) uint8: training images drawn by the recipe's seed, read as evaluation's.

    Args:
        count: how many at most.

    Raises:
        InputError: the dataset has no training images.
        DatasetError: an image cannot be read.
    """
    if not (Path(dataset) / "train.csv").is_file():
        raise InputError(
            "eight bits are calibrated on training images, and only the val images are here: give "
            "the folder of the release's images (--data), with train/"
        )
    index: Index = read_index(Path(dataset), "train")
    drawn = np.random.default_rng(recipe.training.seed).permutation(len(index.paths))[:count]
    positions = np.sort(drawn).astype(np.int32)
    pixels = evaluation_pixels(index, positions, recipe, batch=BATCH, threads=threads)
    with closing(pixels):
        return np.concatenate([batch.images for batch in pixels])


def tell(progress: str, done: int, total: int) -> None:
    path = Path(progress)
    with os_errors_explained(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"done": done, "total": total}) + "\n")
