"""Looking at a recipe's images within seconds, through the code that prepares them."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.data.source import source_of
from mixnet_core.data.splits import cut
from mixnet_core.recipe.sections import Data


def found_images(data: Data, datasets: Path) -> str:
    """Lists the source and cuts its splits as preparing does; no image is read.

    Args:
        datasets: the workspace's folder, where a download is kept.

    Returns:
        The images that were found, in a line.

    Raises:
        MixnetError: as `data.prepare.prepare_dataset`, for whatever shows without reading images.
    """
    source = source_of(data)
    opened = source.quick(data, datasets)
    if opened is None:
        return source.look(data, datasets)
    counts = ", ".join(f"{len(part.positions):,} {part.split}" for part in cut(opened, data))
    return f"{source.described(data)}: {len(opened.classes):,} classes, {counts} images"
