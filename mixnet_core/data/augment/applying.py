"""Applies one image's draws with OpenCV: (H, W, 3) -> (S, S, 3), uint8 RGB.

Letters: H, W pixels of the decoded image, S pixels of `Input.image_size`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from mixnet_core.data.augment.colours import recoloured
from mixnet_core.data.augment.draws import Box, Draws
from mixnet_core.data.augment.geometry import Fill, is_geometric, warped
from mixnet_core.data.augment.rand_augment import Operation
from mixnet_core.data.pixels import Pixels, interpolation
from mixnet_core.recipe.recipe import Recipe


@dataclass(frozen=True)
class Applying:
    """Applies draws as a recipe says.

    Attributes:
        size: S.
        interpolation: OpenCV's, of the crop and of RandAugment's geometric operations.
        fill: the colour that those show from beyond the edge: the mean, as with timm and MindCV.
        rotate_fill: the colour that Rotate shows; MindCV's, on MindSpore's RandomRotation, has the
            channels in the other order.
    """

    size: int
    interpolation: int
    fill: Fill
    rotate_fill: Fill

    @classmethod
    def of(cls, recipe: Recipe) -> Applying:
        """Makes the one for a recipe."""
        settings, drawn = recipe.input, recipe.augment.rand_augment
        mean = settings.mean if recipe.network.in_channels == 3 else settings.mean[:1] * 3
        red, green, blue = (min(255, round(value)) for value in mean)
        mindcvs = drawn is not None and drawn.flavour == "mindcv" and recipe.follows(2)
        return cls(
            settings.image_size,
            interpolation(settings),
            fill=(red, green, blue),
            rotate_fill=(blue, green, red) if mindcvs else (red, green, blue),
        )

    def __call__(self, image: Pixels, draws: Draws) -> Pixels:
        """Applies everything but erasing, which comes after normalising: (H, W, 3) -> (S, S, 3)."""
        image = resized(image, draws.crop, self.size, self.interpolation)
        if draws.flip:
            image = cv2.flip(image, 1)
        for operation in draws.operations:
            fill = self.rotate_fill if operation.name == "Rotate" else self.fill
            image = apply_operation(image, operation, interpolation=self.interpolation, fill=fill)
        return image


def resized(image: Pixels, crop: Box, size: int, interpolation: int) -> Pixels:
    """Resizes a crop to (size, size, 3), between neighbouring pixels also where it shrinks.

    Evaluation and MindCV do so too. timm averages over what lies between; a network would then be
    trained on smoother images than it is measured on.
    """
    part = image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    return cv2.resize(part, (size, size), interpolation=interpolation)


def apply_operation(
    image: Pixels, operation: Operation, *, interpolation: int, fill: Fill
) -> Pixels:
    """Applies a RandAugment operation, (S, S, 3) -> (S, S, 3); `image` stays as it is."""
    if is_geometric(operation.name):
        return warped(image, operation, interpolation=interpolation, fill=fill)
    return recoloured(image, operation)
