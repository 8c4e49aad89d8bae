"""Estimates, within a second or two, of what preparing a dataset adds on the workspace's disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

# A small image takes one block on disk.
SMALL_IMAGE_BYTES = 4096
# Asking a network disk for a million sizes takes minutes.
_SAMPLED_CLASSES = 10
_SAMPLED_FILES = 10_000
_SAMPLED_PATHS = 500


class Room(NamedTuple):
    """Counts bytes, and files that are made."""

    bytes: float
    files: int


def split_room(split: Path) -> Room:
    """Estimates what a copy of a folder of class folders takes."""
    if not split.is_dir():
        return Room(0, 0)
    with os.scandir(split) as found:
        folders = sorted(entry.name for entry in found if entry.is_dir())
    sampled = folders[:_SAMPLED_CLASSES] or ["."]
    files = [file for name in sampled for file in (split / name).iterdir() if file.is_file()]
    count = len(files) * max(1, len(folders)) / len(sampled)
    return Room(_mean_size(files[:_SAMPLED_FILES]) * count, round(count))


def list_room(root: Path, paths: list[str]) -> Room:
    """Estimates what a copy of listed files takes."""
    sampled = paths[:: -(-len(paths) // _SAMPLED_PATHS)]
    return Room(_mean_size([root / path for path in sampled]) * len(paths), len(paths))


def _mean_size(files: list[Path]) -> float:
    return sum(file.stat().st_size for file in files) / max(1, len(files))
