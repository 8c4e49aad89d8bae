"""Fashion-MNIST (arXiv:1708.07747, MIT): 60,000 + 10,000 grey images of clothes, 28 x 28.

Any other four files of the same names are taken too, as long as a folder with them is named.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.download import Fetch, check_reachable, download
from mixnet_core.data.grey_png import grey_images
from mixnet_core.data.idx import decompressed, read_idx
from mixnet_core.data.source import Claim, DataSource, Images, Source
from mixnet_core.errors import DatasetError, DigestMismatch
from mixnet_core.recipe.sections import Data

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""The folder that Debian's package `dataset-fashion-mnist` puts the files in."""

# The authors' bucket. The address they publish is its website endpoint, which speaks no https.
URL = "https://fashion-mnist.s3.eu-central-1.amazonaws.com/"

# sha256 of the decompressed files. The MD5s that the authors publish are of their .gz files, and
# Debian's are compressed anew: their content is the same, their bytes are not.
DIGESTS = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

# The number first: for tools that number folders themselves, name order is then label order.
CLASSES = (
    "0-t-shirt-top",
    "1-trouser",
    "2-pullover",
    "3-dress",
    "4-coat",
    "5-sandal",
    "6-shirt",
    "7-sneaker",
    "8-bag",
    "9-ankle-boot",
)


_PLACES = {"train": "train-*", "val": "t10k-*"}


class FashionMnist(DataSource):
    """Opens four IDX files: of a given folder, the Debian package's, or downloaded."""

    fixed_classes = True
    images_written = 70_000

    def claim(self, folder: Path, *, expected: bool) -> Claim:
        """Claims a folder that is named for its recipe, whatever is in it."""
        return Claim.ITS_OWN if expected else Claim.NO

    def classes(self, data: Data) -> tuple[str, ...]:
        """Returns the published classes, or those of the files in a given folder.

        Raises:
            MixnetError: as `open_fashion_mnist`.
        """
        if data.path is None:
            # Any other files in its place are refused.
            return CLASSES
        return open_fashion_mnist(data.path, Path(), download).classes

    def quick(self, data: Data, datasets: Path) -> Source | None:
        """Opens the files in a given folder; returns None where they may have to be downloaded."""
        return None if data.path is None else open_fashion_mnist(data.path, datasets, download)

    def look(self, data: Data, datasets: Path) -> str:
        """Says whether the files are on this machine, or can be downloaded.

        Raises:
            TransientError, DatasetError, MachineError: as `download.check_reachable`.
        """
        if is_here(datasets):
            return "Fashion-MNIST: on this machine"
        check_reachable(first_url())
        return "Fashion-MNIST: can be downloaded"

    def open(self, data: Data, datasets: Path, fetch: Fetch) -> Source:
        """Opens the files, which are downloaded if need be, as `open_fashion_mnist`."""
        return open_fashion_mnist(data.path, datasets, fetch)


SOURCE = FashionMnist()


def open_fashion_mnist(path: str | None, datasets: Path, fetch: Fetch) -> Source:
    """Reads the four files from `path`; without one from Debian's folder or a kept download.

    Files in `path` may be plain or .gz, and need not be Fashion-MNIST: classes are then named by
    number, and only the structure is checked. Files from elsewhere must be the published ones.

    Raises:
        DatasetError: a file is missing, is not IDX, or images and labels do not fit each other.
        DigestMismatch: a file from elsewhere than `path` is not the published one.
        MachineError, TransientError: as `fetch`.
    """
    if path is not None:
        files = given_files(path)
    elif all(file.is_file() for file in _compressed(DEBIAN).values()):
        files = _compressed(DEBIAN)
    else:
        files = _downloaded(_download_folder(datasets), fetch)
    train, train_digests = _read_split(files, "train")
    val, val_digests = _read_split(files, "t10k")
    digests = train_digests | val_digests
    if path is None:
        _expect_published(files, digests)
    classes = CLASSES if digests == DIGESTS else _numbered(int(train.labels.max()) + 1)
    highest = int(val.labels.max())
    if highest >= len(classes):
        raise DatasetError(
            f"{files['t10k-labels-idx1-ubyte']} has label {highest}, expected at most "
            f"{len(classes) - 1} as in the training labels: the files belong to different datasets"
        )
    return Source(identity=digests, classes=classes, train=train, val=val, places=_PLACES)


def given_files(path: str) -> dict[str, Path]:
    """Finds the four files in the folder `path`.

    Returns:
        name without .gz -> file.

    Raises:
        DatasetError: the folder or one of the files is missing.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DatasetError(f"data.path {path} is no folder: expected the one with the IDX files")
    files = {}
    for name in DIGESTS:
        found = [file for file in (folder / f"{name}.gz", folder / name) if file.is_file()]
        if not found:
            raise DatasetError(
                f"data.path {path} has no {name}.gz: expected the four files {', '.join(DIGESTS)}"
            )
        files[name] = found[0]
    return files


def is_here(datasets: Path) -> bool:
    """Tells whether the files are in Debian's folder or among the downloads; does not read them."""
    return any(
        all(file.is_file() for file in _compressed(folder).values())
        for folder in (DEBIAN, _download_folder(datasets))
    )


def first_url() -> str:
    """Returns the address of the first file that would be downloaded."""
    return f"{URL}{next(iter(DIGESTS))}.gz"


def _download_folder(datasets: Path) -> Path:
    return datasets / "fashion_mnist-idx"


def _compressed(folder: Path) -> dict[str, Path]:
    return {name: folder / f"{name}.gz" for name in DIGESTS}


def _downloaded(folder: Path, fetch: Fetch) -> dict[str, Path]:
    """Fetches what is missing or was damaged since."""
    files = _compressed(folder)
    for name, file in files.items():
        if not _is_published(file, DIGESTS[name]):
            fetch(f"{URL}{file.name}", file, DIGESTS[name])
    return files


def _is_published(file: Path, digest: str) -> bool:
    try:
        return hashlib.sha256(decompressed(file.read_bytes(), str(file))).hexdigest() == digest
    except (OSError, DatasetError):
        return False


def _expect_published(files: dict[str, Path], digests: dict[str, str]) -> None:
    for name, digest in digests.items():
        if digest != DIGESTS[name]:
            raise DigestMismatch(
                f"{files[name]} has content sha256 {digest}, expected {DIGESTS[name]}: install it "
                "anew, or name its folder as data.path to use it as it is"
            )


def _read_split(files: dict[str, Path], prefix: str) -> tuple[Images, dict[str, str]]:
    images_name, labels_name = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    pixels, images_digest = read_idx(files[images_name], 3)
    labels, labels_digest = read_idx(files[labels_name], 1)
    if len(pixels) != len(labels):
        raise DatasetError(
            f"{files[images_name]} has {len(pixels)} images, but {files[labels_name]} has "
            f"{len(labels)} labels: the files belong to different datasets"
        )
    digests = {images_name: images_digest, labels_name: labels_digest}
    signed: NDArray[np.int32] = labels.astype(np.int32)
    return grey_images(pixels, signed), digests


def _numbered(count: int) -> tuple[str, ...]:
    digits = len(str(count - 1))
    return tuple(f"{label:0{digits}d}" for label in range(count))
