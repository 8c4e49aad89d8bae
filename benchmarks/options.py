"""What a section is asked for, and what it hands back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixnet_core.model.variants import VariantName
from mixnet_core.recipe.recipe import Recipe, load_recipe


@dataclass(frozen=True)
class Options:
    """None stands for a section's own default.

    Attributes:
        rounds, image_size, global_batch: as on the command line.
        photos: folder of JPEGs that `evaluate` replicates.
        images: how many `evaluate` makes of them.
    """

    variant: VariantName = "s"
    rounds: int | None = None
    image_size: int | None = None
    global_batch: int | None = None
    photos: Path | None = None
    images: int = 2000


@dataclass(frozen=True)
class Section:
    """A section's result.

    Attributes:
        title: what was measured, and against what.
        rows: plain data, for `--json`; what it holds a row is the section's own.
    """

    title: str
    table: str
    rows: list[dict[str, Any]]


def threads() -> int:
    """What `processes.launch.run_job` gives a single process."""
    return len(os.sched_getaffinity(0))


def published_recipe(variant: VariantName, image_size: int) -> Recipe:
    """A published MixNet of 1000 classes at float32 on this CPU.

    The images' mean and deviation are ImageNet's.
    """
    return load_recipe(
        "digits",
        {
            "network.variant": variant,
            "network.num_classes": 1000,
            "network.stem_stride": 2,
            "network.drop_rate": 0.2,
            "input.image_size": image_size,
            "input.crop_pct": 0.875,
            "input.interpolation": "bicubic",
            "input.mean": [123.675, 116.28, 103.53],
            "input.std": [58.395, 57.12, 57.375],
            "optimizer.name": "momentum",
            "devices.ranks": 1,
        },
    )
