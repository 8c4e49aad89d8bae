"""Batches of a split's images: augmented for training, plain for evaluation.

Training draws and applies its own augmentation (data/augment) in threads; evaluation, which has no
randomness, is mindspore.dataset's.

Letters: N images a batch, C channels, S pixels of `Input.image_size`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import mindspore.dataset as ds
import numpy as np
from mindspore.dataset import transforms, vision
from numpy.typing import NDArray

from mixnet_core.data.augment.making import BatchMaker, TrainingBatch
from mixnet_core.data.index import Index
from mixnet_core.errors import DatasetError, RecipeError
from mixnet_core.recipe import Recipe
from mixnet_core.recipe_sections import Input

__all__ = [
    "Batch",
    "PixelBatch",
    "TrainingBatch",
    "evaluation_batches",
    "evaluation_pixels",
    "rank_order",
    "steps_per_epoch",
    "training_batches",
]

_INTERPOLATIONS = {"bilinear": vision.Inter.BILINEAR, "bicubic": vision.Inter.BICUBIC}

# Training's batches in the making besides the one in use; one of 128 at 224 px takes 77 MB.
_AHEAD = 2


@dataclass(frozen=True)
class Batch:
    """images (N, C, S, S) float32; labels (N,) int32; positions (N,) int32 in the split's index."""

    images: NDArray[np.float32]
    labels: NDArray[np.int32]
    positions: NDArray[np.int32]


@dataclass(frozen=True)
class PixelBatch:
    """images (N, S, S, C) uint8; labels and positions as `Batch`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    positions: NDArray[np.int32]


class _Files:
    """Random access to (undecoded bytes, label, position) in a given order."""

    def __init__(self, index: Index, order: NDArray[np.int64]) -> None:
        self._index = index
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, i: int) -> tuple[NDArray[np.uint8], np.int32, np.int32]:
        position = int(self._order[i])
        content = np.fromfile(self._index.root / self._index.paths[position], np.uint8)
        return content, self._index.labels[position], np.int32(position)


def steps_per_epoch(images: int, recipe: Recipe) -> int:
    """Full global batches in `images`; the remainder is dropped, another one each epoch.

    Raises:
        RecipeError: not even one.
    """
    steps = images // recipe.training.global_batch
    if steps == 0:
        raise RecipeError(
            f"training.global_batch {recipe.training.global_batch} exceeds the {images} training "
            "images: lower it"
        )
    return steps


def rank_order(images: int, recipe: Recipe, epoch: int, rank: int) -> NDArray[np.int64]:
    """Positions that `rank` sees in `epoch`: its own share of one shuffle that all ranks compute.

    It depends on (training.seed, epoch, rank, ranks) only, so an epoch can be begun again.
    """
    used = steps_per_epoch(images, recipe) * recipe.training.global_batch
    shuffle = np.random.default_rng((recipe.training.seed, epoch)).permutation(images)
    return shuffle[:used][rank :: recipe.devices.ranks]


def training_batches(
    index: Index,
    recipe: Recipe,
    *,
    classes: int,
    epoch: int,
    rank: int,
    threads: int,
    first_step: int = 0,
) -> Generator[TrainingBatch, None, None]:
    """The micro-batches of one epoch on one rank: `recipe.accumulation` a step, in order.

    Threads prepare the next ones while one is in use; closing the iterator ends them. Equal
    arguments give equal batches, bit for bit; `threads` changes nothing, and `first_step` only
    leaves out what comes before it. An image is augmented alike on whichever rank it is.

    Args:
        classes: width of the targets, more than every label.
        first_step: of the epoch, from 0.

    Raises:
        RecipeError: fewer images than a global batch.
        DatasetError: an image is missing or cannot be decoded.
    """
    order = rank_order(len(index.paths), recipe, epoch, rank)
    micro_batches = order.reshape(-1, recipe.rank_batch // recipe.accumulation)
    maker = BatchMaker(index, recipe, classes, epoch, rank)
    pool = ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="training-images")
    making: deque[Future[TrainingBatch]] = deque()
    try:
        for number in range(first_step * recipe.accumulation, len(micro_batches)):
            making.append(maker.start(pool, number, micro_batches[number]))
            if len(making) > _AHEAD:
                yield making.popleft().result()
        while making:
            yield making.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def evaluation_batches(
    index: Index, settings: Input, in_channels: int, *, batch: int, threads: int
) -> Iterator[Batch]:
    """Every image of the split exactly once, in index order; the last batch may be shorter."""
    operations = [*_middle(settings), *_to_network(settings, in_channels)]
    order = np.arange(len(index.paths))
    for row in _rows(index, order, operations, batch, threads):
        yield Batch(row["image"], row["label"], row["position"])


def evaluation_pixels(
    index: Index, settings: Input, in_channels: int, *, batch: int, threads: int
) -> Iterator[PixelBatch]:
    """What `evaluation_batches` yields, before normalising: for an engine that does that itself.

    A quarter of the bytes, and Python's side makes and copies no floats.
    """
    operations = _middle(settings)
    if in_channels == 1:
        operations.append(vision.ConvertColor(vision.ConvertMode.COLOR_RGB2GRAY))
    order = np.arange(len(index.paths))
    for row in _rows(index, order, operations, batch, threads):
        images = row["image"][..., None] if in_channels == 1 else row["image"]
        yield PixelBatch(images, row["label"], row["position"])


def _middle(settings: Input) -> list[object]:
    """Undecoded bytes -> uint8 (S, S, 3)."""
    shorter = round(settings.image_size / settings.crop_pct)
    return [
        vision.Decode(),
        vision.Resize(shorter, _INTERPOLATIONS[settings.interpolation]),
        vision.CenterCrop(settings.image_size),
    ]


def _to_network(settings: Input, in_channels: int) -> list[object]:
    """uint8 (S, S, 3) -> float32 (in_channels, S, S)."""
    if in_channels == 3:
        return [vision.Normalize(list(settings.mean), list(settings.std)), vision.HWC2CHW()]
    return [
        vision.ConvertColor(vision.ConvertMode.COLOR_RGB2GRAY),
        # Back to three equal channels: Normalize and HWC2CHW do not take a plane without channels.
        vision.ConvertColor(vision.ConvertMode.COLOR_GRAY2RGB),
        vision.Normalize([settings.mean[0]] * 3, [settings.std[0]] * 3),
        vision.HWC2CHW(),
        transforms.Slice(slice(0, 1)),
    ]


def _rows(
    index: Index, order: NDArray[np.int64], operations: list[object], batch: int, threads: int
) -> Iterator[dict[str, Any]]:
    """Batches as {"image", "label", "position"}."""
    # Otherwise mindspore.dataset re-decides worker counts itself, and its random draws with them.
    ds.config.set_auto_num_workers(False)
    pipeline = ds.GeneratorDataset(
        _Files(index, order),
        ["image", "label", "position"],
        shuffle=False,
        num_parallel_workers=1,
        python_multiprocessing=False,
    )
    pipeline = pipeline.map(operations, ["image"], num_parallel_workers=threads)
    pipeline = pipeline.batch(batch, drop_remainder=False)
    try:
        yield from pipeline.create_dict_iterator(num_epochs=1, output_numpy=True)
    except RuntimeError as error:
        raise DatasetError(
            f"cannot read images of {index.root}: {_cause(error)}; "
            "run `mixnet prepare` again to have every image checked"
        ) from error


def _cause(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "Error" in line or "ailed" in line), lines[0])
