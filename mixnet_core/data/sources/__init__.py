"""Where images come from: one module a source, all opened into the one shape of `source.Source`.

    digits          inside scikit-learn: nothing to download
    fashion_mnist   IDX files: a given folder, the Debian package's, or a verified download
    image_folder    train/<class>/ and optionally val/<class>/
    imagenet        the same for ILSVRC2012's 1,000 classes, or what `mixnet prepare imagenet` made
    lists           train.csv and optionally val.csv

Grey arrays become PNG files in `grey_png`, IDX files become arrays in `idx`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.imagenet.listing import has_listing
from mixnet_core.data.sources import fashion_mnist
from mixnet_core.data.sources.digits import open_digits
from mixnet_core.data.sources.download import Fetch, download
from mixnet_core.data.sources.fashion_mnist import open_fashion_mnist
from mixnet_core.data.sources.image_folder import checked_root, class_names, open_image_folder
from mixnet_core.data.sources.imagenet import open_imagenet
from mixnet_core.data.sources.lists import open_lists
from mixnet_core.data.sources.source import Source
from mixnet_core.errors import DatasetError
from mixnet_core.recipe_sections import Data


def open_source(data: Data, datasets: Path, fetch: Fetch) -> Source:
    """The recipe's source, listed and identified; its images are only read when written.

    Args:
        datasets: the workspace's folder, where a download is kept.
        fetch: brings one file here; see `download.Fetch`.

    Raises:
        DatasetError: it is missing or malformed.
        MachineError: a package is missing, a file cannot be read or written.
        DigestMismatch: a known file's content is not the published one.
        TransientError: a download failed.
    """
    if data.source == "digits":
        return open_digits()
    if data.source == "fashion_mnist":
        return open_fashion_mnist(data.path, datasets, fetch)
    if data.path is None:
        raise DatasetError(f"data.source {data.source} got no data.path: name the images' folder")
    if data.source == "imagenet":
        return open_imagenet(data.path, val_labels=data.val_labels, subset=data.subset)
    if data.source == "lists":
        return open_lists(data.path, subset=data.subset)
    return open_image_folder(data.path)


def folder_source(path: Path, *, expected: str) -> Literal["image_folder", "imagenet", "lists"]:
    """Which source a folder that somebody named is for.

    Args:
        expected: the source of the recipe that it is named for.
    """
    if has_listing(path):
        return "imagenet"
    if (path / "train.csv").is_file() and not (path / "train").is_dir():
        return "lists"
    if expected == "lists":
        return "lists"
    if expected == "imagenet":
        folders = {entry.name for entry in path.glob("train/*") if entry.is_dir()}
        # Where some are missing, or all, it shall be ImageNet: what lacks is said later.
        if folders <= set(wnids()):
            return "imagenet"
    return "image_folder"


def recipe_classes(data: Data) -> tuple[str, ...]:
    """The source's classes in label order, before anything is prepared or downloaded.

    Raises:
        DatasetError, MachineError: as `open_source`.
    """
    if data.source == "image_folder":
        return class_names(checked_root(data.path or "") / "train")
    if data.source == "imagenet":
        return wnids()
    if data.source == "lists":
        return open_lists(data.path or "", subset=data.subset).classes
    if data.source == "fashion_mnist":
        if data.path is None:
            # Any other files in its place are refused.
            return fashion_mnist.CLASSES
        return open_fashion_mnist(data.path, Path(), download).classes
    return open_digits().classes
