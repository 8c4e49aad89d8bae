"""Parts of real photographs: scikit-learn's two."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from mixnet_core.data.index import Index
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.recipe.sections import Input

CLASSES = 5


@cache
def photograph(width: int = 64, height: int = 48, number: int = 0) -> Image.Image:
    """RGB; another part for another number."""
    whole = Image.fromarray(load_sample_images().images[number % 2])
    random = np.random.default_rng(number)
    left = int(random.integers(whole.width - width))
    top = int(random.integers(whole.height - height))
    return whole.crop((left, top, left + width, top + height))


def write_photographs(folder: Path, count: int) -> Index:
    """JPEGs of various sizes, 40 to 119 pixels a side."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    paths = tuple(f"{number:03d}.jpg" for number in range(count))
    for number, (width, height) in enumerate(random.integers(40, 120, (count, 2)).tolist()):
        photograph(width, height, number).save(folder / paths[number], quality=90)
    return Index(folder, paths, (np.arange(count) % CLASSES).astype(np.int32))


def settings(**changes: Any) -> Input:
    """Of 16 pixels, with a mean that is no whole number."""
    return recipe_of(**changes).input


def recipe_of(more: Mapping[str, Any] | None = None, **changes: Any) -> Recipe:
    """The recipe of `settings`; more: dotted keys of other sections."""
    values = {
        "image_size": 16,
        "interpolation": "bilinear",
        "mean": [123.7, 116.3, 103.5],
        "std": [58.4, 57.1, 57.4],
    }
    return load_recipe(
        "mixnet_s",
        {f"input.{key}": value for key, value in (values | changes).items()} | dict(more or {}),
    )
