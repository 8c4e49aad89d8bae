"""MindCV's input pipelines for MixNet, with the operators that it uses, in its order.

After mindcv/data/transforms_factory.py, auto_augment.py and loader.py: its figures are what ours
are compared with, so nothing is made slower or faster than there. Each function yields the number
of images of a batch as it comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mindspore.dataset as ds
import numpy as np
from mindspore.dataset import vision
from numpy.typing import NDArray

from mixnet_core.data.augment.rand_augment import draw_operations
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.recipe.sections import Input, RandAugment

Image = NDArray[np.uint8]

_INTERPOLATIONS = {"bilinear": vision.Inter.BILINEAR, "bicubic": vision.Inter.BICUBIC}


def trained(
    folder: Path, recipe: Recipe, threads: int, *, processes: bool = False
) -> Iterator[int]:
    """An epoch of training images.

    Args:
        processes: Python's part in worker processes; MindCV's train.py leaves that off.
    """
    augment, settings = recipe.augment, recipe.input
    steps: list[object] = [
        vision.RandomCropDecodeResize(
            settings.image_size,
            scale=augment.crop_scale,
            ratio=augment.crop_ratio,
            interpolation=_INTERPOLATIONS[settings.interpolation],
        ),
        vision.RandomHorizontalFlip(augment.hflip),
    ]
    if augment.rand_augment is not None:
        steps.append(_RandAugment(augment.rand_augment, settings))
    steps += [vision.Normalize(list(settings.mean), list(settings.std)), vision.HWC2CHW()]
    if augment.erasing is not None:
        erasing = augment.erasing
        steps.append(
            vision.RandomErasing(erasing.probability, erasing.scale, erasing.ratio, value=0)
        )
    return _batches(folder, steps, recipe, threads, training=True, processes=processes)


def evaluated(folder: Path, recipe: Recipe, threads: int) -> Iterator[int]:
    """All images as evaluation reads them."""
    settings = recipe.input
    steps = [
        vision.Decode(),
        vision.Resize(
            int(settings.image_size / settings.crop_pct), _INTERPOLATIONS[settings.interpolation]
        ),
        vision.CenterCrop(settings.image_size),
        vision.Normalize(list(settings.mean), list(settings.std)),
        vision.HWC2CHW(),
    ]
    return _batches(folder, steps, recipe, threads, training=False, processes=False)


def itself(folder: Path, recipe: Recipe, threads: int) -> Iterator[int]:
    """An epoch of training images by the installed MindCV."""
    from mindcv.data import create_transforms

    augment, settings = recipe.augment, recipe.input
    assert augment.rand_augment is not None
    assert augment.erasing is not None
    steps = create_transforms(
        "imagenet",
        image_resize=settings.image_size,
        is_training=True,
        scale=augment.crop_scale,
        ratio=augment.crop_ratio,
        hflip=augment.hflip,
        interpolation=settings.interpolation,
        auto_augment="randaug-m9-mstd0.5",
        re_prob=augment.erasing.probability,
    )
    return _batches(folder, steps, recipe, threads, training=True, processes=False)


def decoded_images(folder: Path, threads: int) -> Iterator[int]:
    """All images, decoded and nothing else, each a batch."""
    files = ds.ImageFolderDataset(str(folder), num_parallel_workers=threads, shuffle=False)
    decoded = files.map(vision.Decode(), "image", num_parallel_workers=threads)
    for _ in decoded.create_tuple_iterator(num_epochs=1, output_numpy=True):
        yield 1


def _batches(
    folder: Path,
    steps: list[object],
    recipe: Recipe,
    threads: int,
    *,
    training: bool,
    processes: bool,
) -> Iterator[int]:
    files = ds.ImageFolderDataset(str(folder), num_parallel_workers=threads, shuffle=training)
    images = files.map(
        steps, "image", num_parallel_workers=threads, python_multiprocessing=processes
    )
    batches = images.batch(recipe.rank_batch, drop_remainder=training)
    for made, _ in batches.create_tuple_iterator(num_epochs=1, output_numpy=True):
        yield len(made)


class _RandAugment:
    """A Python callable between native operators, each operation one called from Python."""

    def __init__(self, settings: RandAugment, of: Input) -> None:
        self._settings = settings
        self._random = np.random.default_rng(0)
        self._geometric: dict[str, Any] = {
            "resample": _INTERPOLATIONS[of.interpolation],
            "fill_value": tuple(min(255, round(value)) for value in of.mean),
        }

    def __call__(self, image: Image) -> Image:
        for operation in draw_operations(self._settings, self._random):
            image = self._operator(operation.name, operation.argument or 0.0)(image)
        return image

    def _operator(self, name: str, argument: float) -> Callable[[Image], Image]:
        if name.startswith("Shear"):
            argument = math.degrees(math.atan(argument))
        both = (argument, argument)
        operators: dict[str, Callable[[], Callable[[Image], Image]]] = {
            "ShearX": lambda: vision.RandomAffine(0, shear=both, **self._geometric),
            "ShearY": lambda: vision.RandomAffine(0, shear=(0, 0, *both), **self._geometric),
            "TranslateX": lambda: vision.RandomAffine(0, translate=both, **self._geometric),
            "TranslateY": lambda: vision.RandomAffine(
                0, translate=(0, 0, *both), **self._geometric
            ),
            "Rotate": lambda: vision.RandomRotation(both, **self._geometric),
            "AutoContrast": vision.AutoContrast,
            "Invert": vision.Invert,
            "Equalize": vision.Equalize,
            "Solarize": lambda: vision.RandomSolarize((int(argument), int(argument))),
            "Posterize": lambda: vision.RandomPosterize((int(argument), int(argument))),
            "Contrast": lambda: vision.RandomColorAdjust(contrast=both),
            "Brightness": lambda: vision.RandomColorAdjust(brightness=both),
            "Color": lambda: vision.RandomColor(both),
            "Sharpness": lambda: vision.RandomSharpness(both),
        }
        return operators[name]()
