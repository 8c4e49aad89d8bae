"""Training's micro-batches, made in a pool of threads.

Letters: N images, C channels, S pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.ahead import in_parts
from mixnet_core.data.augment.applying import Applying
from mixnet_core.data.augment.draws import draw_image
from mixnet_core.data.augment.mix import MixDraw, draw_mix, mix_images, soft_targets
from mixnet_core.data.augment.randomness import batch_generator, image_generator
from mixnet_core.data.index import Index
from mixnet_core.data.pixels import ToNetwork, decoded
from mixnet_core.data.unreadable import Unreadable
from mixnet_core.recipe.recipe import Recipe

# Enough that handing them to a thread costs nothing, few enough that all threads have some.
_IMAGES_PER_TASK = 4


@dataclass(frozen=True)
class TrainingBatch:
    """Holds what a rank computes one gradient of.

    Attributes:
        images: (N, C, S, S) float32, normalised.
        targets: (N, classes) float32, rows sum to 1.
        positions: (N,) int32 in the split's index; where images are mixed, that of the image which
            the row began as.
        unreadable: images for which another one of the batch stands in, whose position is the
            row's. Where no image could be read, these are all, and `images` means nothing.
    """

    images: NDArray[np.float32]
    targets: NDArray[np.float32]
    positions: NDArray[np.int32]
    unreadable: tuple[Unreadable, ...] = ()


class BatchMaker:
    """Makes the micro-batches of one epoch on one rank, each from its number alone."""

    def __init__(self, index: Index, recipe: Recipe, classes: int, epoch: int, rank: int) -> None:
        self._index = index
        self._recipe = recipe
        self._classes = classes
        self._epoch = epoch
        self._rank = rank
        self._applying = Applying.of(recipe)
        self._to_network = ToNetwork.of(recipe.input, recipe.network.in_channels)

    def start(
        self,
        number: int,
        positions: NDArray[np.int64],
        contents: Sequence[Callable[[], bytes]],
        pool: ThreadPoolExecutor,
    ) -> Future[TrainingBatch]:
        """Hands micro-batch `number` of the epoch, from 0, to the pool.

        Args:
            positions: its images.
            contents: each one's file, read when called (`reading.contents`).
        """
        size, channels = self._recipe.input.image_size, self._recipe.network.in_channels
        images = np.empty((len(positions), channels, size, size), np.float32)
        parts = []
        for first in range(0, len(positions), _IMAGES_PER_TASK):
            some = slice(first, first + _IMAGES_PER_TASK)
            parts.append(partial(self._write, images[some], positions[some], contents[some]))
        return in_parts(pool, parts, partial(self._finish, number, images, positions))

    def _write(
        self,
        images: NDArray[np.float32],
        positions: NDArray[np.int64],
        contents: Sequence[Callable[[], bytes]],
    ) -> list[Unreadable | None]:
        """Fills `images`; returns, for each, why it could not be read, or None."""
        failures: list[Unreadable | None] = []
        for out, position, content in zip(images, positions, contents, strict=True):
            try:
                self._write_image(content(), int(position), out)
                failures.append(None)
            # Whatever it is, a long training's recipe decides whether it goes on.
            except Exception as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                failures.append(Unreadable(self._index.paths[position], reason))
        return failures

    def _write_image(self, content: bytes, position: int, out: NDArray[np.float32]) -> None:
        image = decoded(content)
        height, width, _ = image.shape
        draws = draw_image(
            self._recipe.augment,
            image_generator(self._recipe.training.seed, self._epoch, position),
            width=width,
            height=height,
            size=self._recipe.input.image_size,
        )
        self._to_network(self._applying(image, draws), out)
        if draws.erase is not None:
            box = draws.erase
            out[:, box.top : box.top + box.height, box.left : box.left + box.width] = 0

    def _finish(
        self,
        number: int,
        images: NDArray[np.float32],
        positions: NDArray[np.int64],
        written: list[list[Unreadable | None]],
    ) -> TrainingBatch:
        failures = [failure for part in written for failure in part]
        unreadable = tuple(failure for failure in failures if failure)
        if unreadable:
            positions = _filled(images, positions, failures)
        drawn = self._draw_mix(number)
        if drawn is not None:
            mix_images(images, drawn)
        labels, smoothing = self._index.labels[positions], self._recipe.training.label_smoothing
        targets = soft_targets(labels, self._classes, smoothing, drawn)
        return TrainingBatch(images, targets, positions.astype(np.int32), unreadable)

    def _draw_mix(self, number: int) -> MixDraw | None:
        mix, seed = self._recipe.augment.mix, self._recipe.training.seed
        if mix is None:
            return None
        step, part = divmod(number, self._recipe.accumulation)
        drawn_for = self._recipe.drawn_for(self._rank, part)
        generator = batch_generator(seed, self._epoch, step, *drawn_for)
        return draw_mix(mix, generator, self._recipe.input.image_size)


def _filled(
    images: NDArray[np.float32],
    positions: NDArray[np.int64],
    failures: Sequence[Unreadable | None],
) -> NDArray[np.int64]:
    """Replaces each image that could not be read by one that could; returns the new positions."""
    positions = positions.copy()
    read = [i for i, failure in enumerate(failures) if failure is None]
    for i, failure in enumerate(failures):
        if failure and read:
            instead = read[i % len(read)]
            images[i] = images[instead]
            positions[i] = positions[instead]
    return positions
