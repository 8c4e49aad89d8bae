"""All that is random about one training image, as a value that any thread or program can apply."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.random import Generator

from mixnet_core.data.augment.rand_augment import Operation, draw_operations
from mixnet_core.recipe.sections import Augment, RandomErasing, Range

_TRIES = 10


@dataclass(frozen=True)
class Box:
    """Describes a rectangle in whole pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def area(self) -> int:
        """Returns its area in pixels."""
        return self.width * self.height


@dataclass(frozen=True)
class Draws:
    """Says what is done to one image, in this order.

    Attributes:
        crop: of the decoded image; it is resized to the network's input.
        flip: left and right change sides.
        operations: RandAugment's.
        erase: of the network's input, after normalising; set to 0.
    """

    crop: Box
    flip: bool
    operations: tuple[Operation, ...]
    erase: Box | None


def draw_image(
    augment: Augment,
    generator: Generator,
    *,
    width: int,
    height: int,
    size: int,
) -> Draws:
    """Draws all that is random about one image.

    Args:
        augment: the recipe's section.
        width, height: of the decoded image, pixels.
        size: of the network's input, pixels, square.
    """
    crop = draw_crop(augment.crop_scale, augment.crop_ratio, generator, width, height)
    flip = bool(generator.random() < augment.hflip)
    operations: tuple[Operation, ...] = ()
    if augment.rand_augment is not None:
        operations = draw_operations(augment.rand_augment, generator)
    erase = draw_erasing(augment.erasing, generator, size) if augment.erasing is not None else None
    return Draws(crop, flip, operations, erase)


def draw_crop(scale: Range, ratio: Range, generator: Generator, width: int, height: int) -> Box:
    """Draws a part of the image, to be resized.

    It does what torchvision's RandomResizedCrop, timm's and MindSpore's RandomCropDecodeResize do:
    the share of the area is uniform in `scale`, the logarithm of width / height uniform in that of
    `ratio`; after ten boxes that do not fit, it is the largest middle one whose ratio is in
    `ratio`. Where scale and ratio are [1, 1], it is the whole image, whatever its shape.

    Args:
        width, height: of the image, pixels.
    """
    if scale == (1.0, 1.0) and ratio == (1.0, 1.0):
        return Box(0, 0, width, height)
    for _ in range(_TRIES):
        area = width * height * generator.uniform(*scale)
        shape = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        crop_width, crop_height = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left = int(generator.integers(width - crop_width + 1))
            top = int(generator.integers(height - crop_height + 1))
            return Box(left, top, crop_width, crop_height)
    crop_width, crop_height = width, height
    if width / height < ratio[0]:
        crop_height = min(height, max(1, round(width / ratio[0])))
    elif width / height > ratio[1]:
        crop_width = min(width, max(1, round(height * ratio[1])))
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return Box(left, top, crop_width, crop_height)


def draw_erasing(settings: RandomErasing, generator: Generator, size: int) -> Box | None:
    """Draws the rectangle to erase from a square image; None: nothing is erased.

    It does what mindspore.dataset.vision.RandomErasing, which MindCV uses, does: `ratio` is width /
    height and uniform, and a box that fills a whole side is drawn again, up to ten times. timm's is
    height / width, uniform in its logarithm.

    Args:
        size: of the image, pixels, square.
    """
    if generator.random() >= settings.probability:
        return None
    for _ in range(_TRIES):
        area = size * size * generator.uniform(*settings.scale)
        ratio = generator.uniform(*settings.ratio)
        width = round(math.sqrt(area * ratio))
        height = round(width / ratio)
        if width < size and height < size:
            top = int(generator.integers(size - height + 1))
            left = int(generator.integers(size - width + 1))
            return Box(left, top, width, height)
    return None
