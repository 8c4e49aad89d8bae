"""Makes training's micro-batches in a pool of threads.

Letters: N images, C channels, S pixels.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.augment.draws import draw_image
from mixnet_core.data.augment.mix import MixDraw, draw_mix, mix_images, soft_targets
from mixnet_core.data.augment.pillow import ToNetwork, opened
from mixnet_core.data.augment.randomness import batch_generator, image_generator
from mixnet_core.data.index import Index
from mixnet_core.errors import DatasetError
from mixnet_core.recipe import Recipe

# Enough that handing them to a thread costs nothing, few enough that all threads have some.
_IMAGES_A_TASK = 4


@dataclass(frozen=True)
class TrainingBatch:
    """What a rank computes one gradient of.

    Attributes:
        images: (N, C, S, S) float32, normalised.
        targets: (N, classes) float32, rows sum to 1.
        positions: (N,) int32 in the split's index; where images are mixed, of the one whose place
            it is.
    """

    images: NDArray[np.float32]
    targets: NDArray[np.float32]
    positions: NDArray[np.int32]


class BatchMaker:
    """Makes the micro-batches of one epoch on one rank, each from its number alone."""

    def __init__(self, index: Index, recipe: Recipe, classes: int, epoch: int, rank: int) -> None:
        self._index = index
        self._recipe = recipe
        self._classes = classes
        self._epoch = epoch
        self._rank = rank
        self._to_network = ToNetwork.of(recipe.input, recipe.network.in_channels)

    def start(
        self, pool: ThreadPoolExecutor, number: int, positions: NDArray[np.int64]
    ) -> Future[TrainingBatch]:
        """Hands micro-batch `number` of the epoch, from 0, to the pool; these are its images.

        The result raises DatasetError where an image is missing or cannot be decoded.
        """
        size, channels = self._recipe.input.image_size, self._recipe.network.in_channels
        images = np.empty((len(positions), channels, size, size), np.float32)
        written = []
        for first in range(0, len(positions), _IMAGES_A_TASK):
            some = slice(first, first + _IMAGES_A_TASK)
            written.append(pool.submit(self._write, images[some], positions[some]))
        # Waits in the pool for what was handed to it before, which itself waits for nothing.
        return pool.submit(self._finish, number, images, positions, written)

    def _write(self, images: NDArray[np.float32], positions: NDArray[np.int64]) -> None:
        for out, position in zip(images, positions, strict=True):
            path = self._index.root / self._index.paths[position]
            try:
                self._write_image(path.read_bytes(), int(position), out)
            # Pillow's decoders raise whatever they stumble over: SyntaxError, struct.error, ...
            except Exception as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise DatasetError(
                    f"cannot read {path} ({reason}): run `mixnet prepare` again to have every "
                    "image checked"
                ) from error

    def _write_image(self, content: bytes, position: int, out: NDArray[np.float32]) -> None:
        generator = image_generator(self._recipe.training.seed, self._epoch, position)
        with opened(content) as image:
            draws = draw_image(
                self._recipe.augment,
                generator,
                width=image.width,
                height=image.height,
                size=self._recipe.input.image_size,
            )
            self._to_network(image, draws, out)

    def _finish(
        self,
        number: int,
        images: NDArray[np.float32],
        positions: NDArray[np.int64],
        written: list[Future[None]],
    ) -> TrainingBatch:
        for part in written:
            part.result()
        drawn = self._draw_mix(number)
        if drawn is not None:
            mix_images(images, drawn)
        labels, smoothing = self._index.labels[positions], self._recipe.training.label_smoothing
        targets = soft_targets(labels, self._classes, smoothing, drawn)
        return TrainingBatch(images, targets, positions.astype(np.int32))

    def _draw_mix(self, number: int) -> MixDraw | None:
        mix, seed = self._recipe.augment.mix, self._recipe.training.seed
        if mix is None:
            return None
        step, part = divmod(number, self._recipe.accumulation)
        generator = batch_generator(seed, self._epoch, step, self._rank, part)
        return draw_mix(mix, generator, self._recipe.input.image_size)
