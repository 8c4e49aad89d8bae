"""Where images come from: one module a source, all opened into the one shape of `source.Source`.

    digits          inside scikit-learn: nothing to download
    fashion_mnist   IDX files: a given folder, the Debian package's, or a verified download
    image_folder    train/<class>/ and optionally val/<class>/

Grey arrays become PNG files in `grey_png`, IDX files become arrays in `idx`.
"""

from __future__ import annotations

from pathlib import Path

from mixnet_core.data.sources import fashion_mnist
from mixnet_core.data.sources.digits import open_digits
from mixnet_core.data.sources.download import Fetch, download
from mixnet_core.data.sources.fashion_mnist import open_fashion_mnist
from mixnet_core.data.sources.image_folder import checked_root, class_names, open_image_folder
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
        raise DatasetError("data.source image_folder got no data.path: name the folder with train/")
    return open_image_folder(data.path)


def recipe_classes(data: Data) -> tuple[str, ...]:
    """The source's classes in label order, before anything is prepared or downloaded.

    Raises:
        DatasetError, MachineError: as `open_source`.
    """
    if data.source == "image_folder":
        return class_names(checked_root(data.path or "") / "train")
    if data.source == "fashion_mnist":
        if data.path is None:
            # Any other files in its place are refused.
            return fashion_mnist.CLASSES
        return open_fashion_mnist(data.path, Path(), download).classes
    return open_digits().classes
