"""What an exported file says of itself, as keys and texts that ONNX and OpenVINO can hold.

classes                     JSON list in label order; missing where nobody says them
mean, std                   JSON lists, a number a channel, of pixels in 0..255
image_size                  pixels, square
short_side, crop_pct        the shorter side is resized to short_side, the middle cropped
interpolation               of that resizing
in_channels                 3: RGB, 1: grey
flavour, stem_stride        what the network is besides its shapes
release, weights_sha256, recipe_fingerprint, variant, code      where it came from

`release.own_metadata` reads them again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata as packages

import numpy as np
from numpy.typing import NDArray

from mixnet_core.errors import IntegrityError
from mixnet_core.exports.exportable import Exportable


def metadata_of(item: Exportable) -> dict[str, str]:
    """Returns keys and texts; equal releases give equal ones."""
    network, given = item.recipe.network, item.recipe.input
    channels = network.in_channels
    said = {
        "release": item.name,
        "weights_sha256": item.sha256,
        "recipe_fingerprint": item.recipe.fingerprint,
        "variant": network.variant,
        "flavour": network.flavour,
        "stem_stride": str(network.stem_stride),
        "code": f"mindspore-mixnet {packages.version('mindspore-mixnet')}",
        "mean": json.dumps(given.mean[:channels]),
        "std": json.dumps(given.std[:channels]),
        "image_size": str(given.image_size),
        "short_side": str(item.recipe.short_side),
        "crop_pct": repr(given.crop_pct),
        "interpolation": given.interpolation,
        "in_channels": str(channels),
    }
    if item.classes is not None:
        said["classes"] = json.dumps(item.classes, ensure_ascii=False)
    return said


@dataclass(frozen=True, eq=False)
class Normalising:
    """Normalises pixels as a file says, not as the recipe that it was written from.

    Attributes:
        mean, std: (C,) float32.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    @classmethod
    def of(cls, said: Mapping[str, str], file: str) -> Normalising:
        """Takes what a file's metadata says.

        Raises:
            IntegrityError: it does not say it.
        """
        try:
            return cls(*(np.array(json.loads(said[key]), np.float32) for key in ("mean", "std")))
        except (KeyError, ValueError) as error:
            raise IntegrityError(
                f"{file} does not say how images are normalised ({error}): export it again"
            ) from error

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turns (N, S, S, C) of uint8 into (N, C, S, S)."""
        images = (pixels.astype(np.float32) - self.mean) / self.std
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
