"""Batches of a split's images: augmented for training, plain for evaluation.

Letters: N images of a batch, C channels, S pixels of `Input.image_size`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.ahead import in_parts, made_ahead
from mixnet_core.data.augment.making import BatchMaker, TrainingBatch
from mixnet_core.data.index import Index
from mixnet_core.data.pixels import Pixels, ToNetwork, grey, middle
from mixnet_core.data.reading import ImageSet, cannot_be_read, contents, pixels
from mixnet_core.data.unreadable import UnreadableImages
from mixnet_core.errors import DatasetError, RecipeError
from mixnet_core.recipe.recipe import Recipe

__all__ = [
    "Batch",
    "PixelBatch",
    "TrainingBatch",
    "evaluation_batches",
    "evaluation_pixels",
    "rank_order",
    "step_positions",
    "steps_per_epoch",
    "training_batches",
]

D = TypeVar("D", bound=np.generic)

# Enough that handing them to a thread costs nothing, few enough that all threads have some.
_IMAGES_PER_TASK = 8


@dataclass(frozen=True)
class Batch:
    """Holds images for the network.

    Attributes:
        images: (N, C, S, S) float32, normalised.
        labels: (N,) int32.
        positions: (N,) int32, in the split's index.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int32]
    positions: NDArray[np.int32]


@dataclass(frozen=True)
class PixelBatch:
    """Holds images before normalising.

    Attributes:
        images: (N, S, S, C) uint8.
        labels, positions: as `Batch`.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    positions: NDArray[np.int32]


def steps_per_epoch(images: int, recipe: Recipe) -> int:
    """Returns how many full global batches there are in so many images.

    The remainder is dropped, another one in each epoch.

    Raises:
        RecipeError: there is not even one.
    """
    steps = images // recipe.training.global_batch
    if steps == 0:
        raise RecipeError(
            f"training.global_batch {recipe.training.global_batch} exceeds the {images} training "
            "images: lower it"
        )
    return steps


def rank_order(images: int, recipe: Recipe, epoch: int, rank: int) -> NDArray[np.int64]:
    """Returns the positions that a rank sees in an epoch, in order.

    They are its own share of one shuffle that all ranks compute, and depend on (training.seed,
    epoch, rank, ranks) only, so an epoch can be started again. With `training.virtual_ranks` those
    are the ranks, of which this one has neighbours: in each step the first one's images come first.

    Raises:
        RecipeError: as `steps_per_epoch`.
    """
    shares, own = recipe.shares, recipe.shares // recipe.ranks
    size = recipe.training.global_batch // shares
    steps = _order(images, recipe, epoch).reshape(-1, size, shares)
    return steps[:, :, rank * own : (rank + 1) * own].swapaxes(1, 2).reshape(-1)


def step_positions(images: int, recipe: Recipe, step: int) -> NDArray[np.int64]:
    """Returns the positions that all ranks together see in a step, however many they are.

    Args:
        images: of the split.
        step: from 1, counted from the beginning of training.

    Raises:
        RecipeError: as `steps_per_epoch`.
    """
    epoch, number = divmod(step - 1, steps_per_epoch(images, recipe))
    batch = recipe.training.global_batch
    return _order(images, recipe, epoch)[number * batch : (number + 1) * batch]


def training_batches(
    index: Index,
    recipe: Recipe,
    *,
    classes: int,
    epoch: int,
    rank: int,
    threads: int,
    first_step: int = 0,
    unreadable: UnreadableImages | None = None,
) -> Generator[TrainingBatch, None, None]:
    """Yields the micro-batches of one epoch on one rank: `recipe.accumulation` per step, in order.

    Threads prepare the next ones while one is in use; closing the iterator ends them. Equal
    arguments give equal batches, bit for bit; `threads` changes nothing, and `first_step` only
    leaves out what comes before it. An image is augmented alike on whichever rank it is.

    Args:
        classes: width of the targets, more than every label.
        first_step: of the epoch, from 0.
        unreadable: counts the images that cannot be read, and decides whether that ends it; None:
            the first one does.

    Raises:
        RecipeError: fewer images than a global batch.
        DatasetError: an image cannot be read, and that is one too many.
    """
    unreadable = unreadable or UnreadableImages(None, 0, rank)
    size = recipe.rank_batch // recipe.accumulation
    first = first_step * recipe.accumulation
    order = rank_order(len(index.paths), recipe, epoch, rank)[first * size :]
    maker = BatchMaker(index, recipe, classes, epoch, rank)
    with closing(contents(index, order)) as files:
        starts = (
            partial(maker.start, number, positions, list(islice(files, size)))
            for number, positions in enumerate(order.reshape(-1, size), first)
        )
        with closing(made_ahead(starts, threads)) as batches:
            for batch in batches:
                _check(batch, epoch, unreadable)
                yield batch


def evaluation_batches(
    images: ImageSet,
    positions: NDArray[np.int32],
    recipe: Recipe,
    *,
    batch: int,
    threads: int,
) -> Generator[Batch, None, None]:
    """Yields the images at these positions, in their order; the last batch may be shorter.

    A given image that cannot be read is all zeros, and noted in `images.unreadable`.

    Args:
        images: a prepared split's, or any that are given.
        positions: (N,) int32, of the images.
        batch: images of one `Batch`.
        threads: how many decode.

    Raises:
        DatasetError: an image of a prepared split cannot be read.
    """
    settings, in_channels = recipe.input, recipe.network.in_channels
    to_network, size = ToNetwork.of(settings, in_channels), settings.image_size

    def empty(count: int) -> NDArray[np.float32]:
        return np.empty((count, in_channels, size, size), np.float32)

    def write(image: Pixels, out: NDArray[np.float32]) -> None:
        to_network(middle(image, settings, short_side=recipe.short_side), out)

    with closing(_written(images, positions, empty, write, batch, threads)) as batches:
        for some, made in batches:
            yield Batch(made, images.labels[some], some)


def evaluation_pixels(
    images: ImageSet,
    positions: NDArray[np.int32],
    recipe: Recipe,
    *,
    batch: int,
    threads: int,
) -> Generator[PixelBatch, None, None]:
    """Yields what `evaluation_batches` does, before normalising, for engines that normalise.

    Args:
        images, positions, batch, threads: as `evaluation_batches`.

    Raises:
        DatasetError: an image of a prepared split cannot be read.
    """
    size, in_channels = recipe.input.image_size, recipe.network.in_channels

    def empty(count: int) -> Pixels:
        return np.empty((count, size, size, in_channels), np.uint8)

    def write(image: Pixels, out: Pixels) -> None:
        image = middle(image, recipe.input, short_side=recipe.short_side)
        out[:] = grey(image)[..., None] if in_channels == 1 else image

    with closing(_written(images, positions, empty, write, batch, threads)) as batches:
        for some, made in batches:
            yield PixelBatch(made, images.labels[some], some)


def _order(images: int, recipe: Recipe, epoch: int) -> NDArray[np.int64]:
    """Returns the positions that all ranks see in an epoch: rank r those at r, r + ranks, ..."""
    used = steps_per_epoch(images, recipe) * recipe.training.global_batch
    shuffle = np.random.default_rng((recipe.training.seed, epoch)).permutation(images)
    return shuffle[:used]


def _check(batch: TrainingBatch, epoch: int, unreadable: UnreadableImages) -> None:
    for image in batch.unreadable:
        unreadable.add(epoch, image)
    if len(batch.unreadable) == len(batch.positions):
        raise DatasetError(
            f"no image of a whole batch can be read, the first is {batch.unreadable[0].path} "
            f"({batch.unreadable[0].reason}): run `mixnet prepare` again to have every image "
            "checked"
        )


def _written(
    images: ImageSet,
    order: NDArray[np.int32],
    empty: Callable[[int], NDArray[D]],
    write: Callable[[Pixels, NDArray[D]], None],
    batch: int,
    threads: int,
) -> Generator[tuple[NDArray[np.int32], NDArray[D]], None, None]:
    """Yields positions and images of all batches, in this order.

    Args:
        empty: makes an array for so many images.
        write: puts a decoded image into one of that array.
    """

    def start(positions: NDArray[np.int32], pool: ThreadPoolExecutor) -> Future[NDArray[D]]:
        made, readers = empty(len(positions)), list(islice(every, len(positions)))

        def write_some(first: int) -> None:
            for i in range(first, min(first + _IMAGES_PER_TASK, len(readers))):
                try:
                    write(readers[i](), made[i])
                except (DatasetError, ValueError) as error:
                    made[i] = 0
                    cannot_be_read(images, int(positions[i]), error)

        parts = [partial(write_some, first) for first in range(0, len(readers), _IMAGES_PER_TASK)]
        return in_parts(pool, parts, lambda _: made)

    batches = [order[first : first + batch] for first in range(0, len(order), batch)]
    with closing(pixels(images, order)) as every:
        starts = (partial(start, positions) for positions in batches)
        with closing(made_ahead(starts, threads)) as made:
            yield from zip(batches, made, strict=True)
