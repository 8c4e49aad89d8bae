"""Applies one image's draws with Pillow, whose C code lets other threads run.

Letters: C channels, S pixels of the network's input.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from mixnet_core.data.augment.draws import Box, Draws
from mixnet_core.data.augment.rand_augment import Operation, OperationName
from mixnet_core.recipe_sections import Input

Fill = tuple[int, int, int]

_INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_SOLARIZE_ADD_BELOW = 128


@dataclass(frozen=True)
class ToNetwork:
    """From decoded images to the network's input, as a recipe wants it.

    Attributes:
        size: S.
        resample: of the crop, and of RandAugment's geometric operations.
        fill: what those show from beyond the edge: the mean colour, as timm and MindCV do.
        factor, offset: (C, 1, 1); pixels * factor + offset are normalised.
    """

    size: int
    resample: Image.Resampling
    fill: Fill
    factor: NDArray[np.float32]
    offset: NDArray[np.float32]

    @classmethod
    def of(cls, settings: Input, in_channels: int) -> ToNetwork:
        mean = settings.mean if in_channels == 3 else settings.mean[:1]
        std = settings.std if in_channels == 3 else settings.std[:1]
        fill = [min(255, round(value)) for value in mean] * (3 // in_channels)
        shape = (in_channels, 1, 1)
        return cls(
            size=settings.image_size,
            resample=_INTERPOLATIONS[settings.interpolation],
            fill=cast("Fill", tuple(fill)),
            factor=(1 / np.array(std)).astype(np.float32).reshape(shape),
            offset=(-np.array(mean) / np.array(std)).astype(np.float32).reshape(shape),
        )

    def __call__(self, image: Image.Image, draws: Draws, out: NDArray[np.float32]) -> None:
        """Writes into `out`, (C, S, S).

        Raises:
            Exception: whatever Pillow's decoders stumble over.
        """
        changed = self.changed(image, draws)
        if len(out) == 1:
            pixels = np.asarray(changed.convert("L"))[None]
        else:
            pixels = np.asarray(changed).transpose(2, 0, 1)
        np.multiply(pixels, self.factor, out=out)
        out += self.offset
        if draws.erase is not None:
            box = draws.erase
            out[:, box.top : box.top + box.height, box.left : box.left + box.width] = 0

    def changed(self, image: Image.Image, draws: Draws) -> Image.Image:
        """RGB of S by S pixels: all but normalising and erasing."""
        image = resized(rgb(image), draws.crop, self.size, self.resample)
        if draws.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        for operation in draws.operations:
            image = apply_operation(image, operation, resample=self.resample, fill=self.fill)
        return image


def opened(content: bytes) -> Image.Image:
    """An image whose size is known and whose pixels are not decoded yet."""
    return Image.open(io.BytesIO(content))


def rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB as evaluation's decoder does it: no transparency, of 16 bits the upper 8."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        # Pillow would make everything above 255 white.
        upper = np.asarray(image).astype(np.int64) >> 8
        image = Image.fromarray(np.clip(upper, 0, 255).astype(np.uint8))
    elif "transparency" in image.info:
        # Straight to RGB, Pillow warns.
        image = image.convert("RGBA")
    return image.convert("RGB")


def resized(image: Image.Image, crop: Box, size: int, resample: Image.Resampling) -> Image.Image:
    """A crop as (size, size), interpolated between neighbouring pixels also where it shrinks.

    So do evaluation and MindCV (mindspore.dataset, OpenCV's filters). Where a side shrinks,
    Pillow's `resize` averages over what lies between, as timm has it: a network would be trained on
    smoother images than it is measured on. Where none does, `resize` is the nearer to OpenCV, and
    four times faster.
    """
    corners = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    if crop.width <= size and crop.height <= size:
        return image.resize((size, size), resample, corners)
    return image.transform((size, size), Image.Transform.EXTENT, corners, resample)


def apply_operation(
    image: Image.Image, operation: Operation, *, resample: Image.Resampling, fill: Fill
) -> Image.Image:
    """One RandAugment operation on an RGB image, as timm applies it (timm/data/auto_augment.py)."""
    name, argument = operation.name, operation.argument
    if argument is None:
        return _PLAIN[name](image)
    if name in _WITH_ARGUMENT:
        return _WITH_ARGUMENT[name](image, argument)
    if name == "Rotate":
        return image.rotate(argument, resample=resample, fillcolor=fill)
    matrix = _matrix(name, argument, image)
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, resample=resample, fillcolor=fill
    )


def _matrix(name: OperationName, argument: float, image: Image.Image) -> tuple[float, ...]:
    if name == "ShearX":
        return (1, argument, 0, 0, 1, 0)
    if name == "ShearY":
        return (1, 0, 0, argument, 1, 0)
    if name == "TranslateX":
        return (1, 0, argument * image.width, 0, 1, 0)
    return (1, 0, 0, 0, 1, argument * image.height)


def _posterize(image: Image.Image, bits: float) -> Image.Image:
    # Since Pillow 13 ImageOps.posterize refuses 0 bits, which timm's inc1 has at magnitude 10.
    kept = 256 - (1 << (8 - int(bits)))
    return image.point([value & kept for value in range(256)] * 3)


def _solarize_add(image: Image.Image, add: float) -> Image.Image:
    below = [min(255, value + int(add)) for value in range(_SOLARIZE_ADD_BELOW)]
    return image.point((below + list(range(_SOLARIZE_ADD_BELOW, 256))) * 3)


_PLAIN: dict[OperationName, Callable[[Image.Image], Image.Image]] = {
    "AutoContrast": ImageOps.autocontrast,
    "Equalize": ImageOps.equalize,
    "Invert": ImageOps.invert,
}
_WITH_ARGUMENT: dict[OperationName, Callable[[Image.Image, float], Image.Image]] = {
    "Posterize": _posterize,
    "Solarize": lambda image, least: ImageOps.solarize(image, int(least)),
    "SolarizeAdd": _solarize_add,
    "Color": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "Contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "Brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "Sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
}
