"""What preparing a dataset adds on the workspace's disk, estimated within a second or two."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from mixnet_core.data.sources.lists import listed_paths
from mixnet_core.errors import MixnetError
from mixnet_core.recipe_sections import Data

# A small image takes one block on disk.
_SMALL_IMAGE_BYTES = 4096
_SMALL_IMAGES = {"digits": 1_797, "fashion_mnist": 70_000}
# Asking a network disk for a million sizes takes minutes.
_SAMPLED_CLASSES = 10
_SAMPLED_FILES = 10_000
_SAMPLED_PATHS = 500


class Room(NamedTuple):
    """Bytes, and files that are made."""

    bytes: float
    files: int


def dataset_room(data: Data, place: Path) -> Room:
    """By layout: copies where links are not possible, shards with the images' bytes, or nothing.

    Nothing too where the source cannot be looked at: `preflight.check_data` says why.

    Args:
        place: an existing folder on the workspace's disk.
    """
    if data.source in _SMALL_IMAGES:
        count = _SMALL_IMAGES[data.source]
        return Room(count * _SMALL_IMAGE_BYTES, count)
    try:
        root = Path(data.path or "").expanduser()
        near = root.stat().st_dev == place.stat().st_dev
        if data.layout == "in_place" or (data.layout == "links" and near):
            return Room(0, 0)
        if data.source == "lists":
            rooms = [_list_room(root, paths) for paths in listed_paths(data.path or "").values()]
        else:
            rooms = [_split_room(root / split) for split in ("train", "val")]
    except (MixnetError, OSError):
        return Room(0, 0)
    files = sum(room.files for room in rooms) if data.layout == "links" else 0
    return Room(sum(room.bytes for room in rooms), files)


def _split_room(split: Path) -> Room:
    if not split.is_dir():
        return Room(0, 0)
    with os.scandir(split) as found:
        folders = sorted(entry.name for entry in found if entry.is_dir())
    sampled = folders[:_SAMPLED_CLASSES] or ["."]
    files = [file for name in sampled for file in (split / name).iterdir() if file.is_file()]
    count = len(files) * max(1, len(folders)) / len(sampled)
    return Room(_mean_size(files[:_SAMPLED_FILES]) * count, round(count))


def _list_room(root: Path, paths: list[str]) -> Room:
    sampled = paths[:: -(-len(paths) // _SAMPLED_PATHS)]
    return Room(_mean_size([root / path for path in sampled]) * len(paths), len(paths))


def _mean_size(files: list[Path]) -> float:
    return sum(file.stat().st_size for file in files) / max(1, len(files))
