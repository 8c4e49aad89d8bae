"""Small sources, made by the tests themselves."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixnet_core.data.index import SPLITS, read_index
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.recipe.sections import Data
from mixnet_core.runs.values import PreparedDataset

SIDE = 6


def data(source: str, path: Path | str | None = None, **changes: Any) -> Data:
    settings = {
        "source": source,
        "path": str(path) if path else None,
        "train_limit": None,
        "val_share": 0.25,
        "select_share": 0.2,
        "split_seed": 0,
    }
    return Data.model_validate(settings | changes)


def small_recipe(source: Path, classes: int, **changes: Any) -> Recipe:
    """digits, on a folder of `write_image_folder` at the images' own size."""
    settings = {
        "data.source": "image_folder",
        "data.path": str(source),
        "input.image_size": SIDE,
        "network.num_classes": classes,
        "network.stem_stride": 1,
    }
    more = {key.replace("__", "."): value for key, value in changes.items()}
    return load_recipe("digits", settings | more)


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx_folder(folder: Path, train_labels: list[int], val_labels: list[int]) -> Path:
    """Four .gz files with random images, none of which is twice the same."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(7)
    for prefix, labels in (("train", train_labels), ("t10k", val_labels)):
        pixels = random.integers(0, 256, (len(labels), SIDE, SIDE), dtype=np.uint8)
        for name, array in (
            (f"{prefix}-images-idx3-ubyte.gz", pixels),
            (f"{prefix}-labels-idx1-ubyte.gz", np.array(labels, np.uint8)),
        ):
            (folder / name).write_bytes(gzip.compress(idx_bytes(array), mtime=0))
    return folder


def write_image_folder(
    root: Path, train: dict[str, int], val: dict[str, int] | None = None, backwards: bool = False
) -> Path:
    """PNG images, so many a class; the content of each depends on its split, class and number only.

    Args:
        backwards: create the files in the opposite order.
    """
    wanted = [
        (split, name, number)
        for split, classes in (("train", train), ("val", val or {}))
        for name, count in classes.items()
        for number in range(count)
    ]
    for split, name, number in reversed(wanted) if backwards else wanted:
        write_image(root / split / name / f"{number:03d}.png", f"{split}/{name}/{number}")
    return root


def write_image(path: Path, content: str, **options: Any) -> Path:
    """An RGB image that differs for every `content`, in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(list(content.encode()))
    Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path, **options)
    return path


def contents(dataset: PreparedDataset) -> dict[str, str]:
    """Digest -> split, of every image file in the dataset."""
    root = Path(dataset.root)
    found = {}
    for split in SPLITS:
        for path in read_index(root, split).paths:
            digest = hashlib.sha256((root / path).read_bytes()).hexdigest()
            assert digest not in found
            found[digest] = split
    return found


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Modification time and inode of everything in a folder."""
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.rglob("*")}
