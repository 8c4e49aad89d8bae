"""The OpenVINO engine of the evaluate stage, fed from memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.batches import PixelBatch
from mixnet_core.data.index import Index
from mixnet_core.data.reading import ImageSet
from mixnet_core.evaluate.openvino_engine import OpenvinoEngine
from mixnet_core.recipe.recipe import Recipe


class PixelsInMemory(OpenvinoEngine):
    """Everything of the engine but its reading and decoding: the same batches again and again.

    Attributes:
        first_logits: (1000,) float32, of the first image.
    """

    def __init__(
        self,
        recipe: Recipe,
        batches: list[NDArray[np.uint8]],
        *,
        threads: int,
        images_per_pass: int | None = None,
    ) -> None:
        """batches: (N, S, S, 3) each; images_per_pass: None leaves it to the engine."""
        classes = recipe.network.num_classes or 1000
        super().__init__(recipe, classes, batch=len(batches[0]), threads=threads)
        if images_per_pass is not None:
            self._pass = images_per_pass
        self._batches = batches
        self._number = 0

    def images_per_second(self, seconds: float) -> float:
        """Over batches until `seconds` have passed, in whole turns over all of them."""
        turns, one = 1, self._run(1)
        turns = max(1, round(seconds / one))
        taken = self._run(turns)
        return turns * sum(map(len, self._batches)) / taken

    def _run(self, turns: int) -> float:
        self._number = turns
        began = time.perf_counter()
        # The index names files, of which none is read here.
        empty = Index(Path(), (), np.zeros(0, np.int32))
        for number, batch in enumerate(self.logits(empty, empty.positions)):
            if number == 0:
                self.first_logits = batch.logits[0].copy()
        return time.perf_counter() - began

    def _pixels(self, images: ImageSet, positions: NDArray[np.int32]) -> Iterator[PixelBatch]:
        for _ in range(self._number):
            for images in self._batches:
                numbers = np.zeros(len(images), np.int32)
                yield PixelBatch(images, numbers, numbers)
