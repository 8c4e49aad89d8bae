from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.data.download import Fetch
from mixnet_core.data.sources import fashion_mnist
from mixnet_core.data.sources.fashion_mnist import CLASSES, DEBIAN, DIGESTS, open_fashion_mnist
from mixnet_core.errors import DatasetError, DigestMismatch
from tests.data.samples import idx_bytes, write_idx_folder

needs_debian = pytest.mark.skipif(
    not DEBIAN.is_dir(), reason="apt-get install dataset-fashion-mnist"
)


def no_fetch(url: str, target: Path, sha256: str) -> None:
    raise AssertionError(f"asked for {url}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_idx_folder(tmp_path / "given", [0, 1, 2] * 4, [2, 1, 0])


@needs_debian
def test_debians_files_are_the_published_ones(tmp_path: Path) -> None:
    source = open_fashion_mnist(None, tmp_path, no_fetch)
    assert source.identity == DIGESTS
    assert source.classes == CLASSES
    assert len(source.train.names) == 60_000
    assert source.val is not None
    assert np.bincount(source.val.labels).tolist() == [1000] * 10


@needs_debian
def test_the_published_files_in_a_given_folder_get_their_names(tmp_path: Path) -> None:
    assert open_fashion_mnist(str(DEBIAN), tmp_path, no_fetch).classes == CLASSES


def test_names_sort_in_label_order() -> None:
    assert list(CLASSES) == sorted(CLASSES)


def test_another_dataset_in_a_given_folder_is_numbered(tmp_path: Path, folder: Path) -> None:
    source = open_fashion_mnist(str(folder), tmp_path, no_fetch)
    assert source.classes == ("0", "1", "2")
    assert source.train.labels.tolist() == [0, 1, 2] * 4
    assert source.val is not None
    assert source.val.labels.tolist() == [2, 1, 0]


def test_numbers_of_many_classes_sort_in_label_order(tmp_path: Path) -> None:
    folder = write_idx_folder(tmp_path / "given", list(range(12)), [0])
    classes = open_fashion_mnist(str(folder), tmp_path, no_fetch).classes
    assert classes[:2] == ("00", "01")
    assert list(classes) == sorted(classes)


def test_plain_files_are_as_good_as_compressed_ones(tmp_path: Path, folder: Path) -> None:
    compressed = open_fashion_mnist(str(folder), tmp_path, no_fetch)
    for file in folder.iterdir():
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    plain = open_fashion_mnist(str(folder), tmp_path, no_fetch)
    assert plain.identity == compressed.identity


def test_a_missing_folder_or_file_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DatasetError, match="/none is no folder"):
        open_fashion_mnist(str(tmp_path / "none"), tmp_path, no_fetch)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DatasetError, match=r"has no t10k-labels-idx1-ubyte\.gz"):
        open_fashion_mnist(str(folder), tmp_path, no_fetch)


def test_images_without_labels_are_counted(tmp_path: Path, folder: Path) -> None:
    content = gzip.compress(idx_bytes(np.zeros(11, np.uint8)))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"has 12 images, but .* has 11 labels"):
        open_fashion_mnist(str(folder), tmp_path, no_fetch)


def test_a_val_label_that_train_lacks_is_refused(tmp_path: Path, folder: Path) -> None:
    content = gzip.compress(idx_bytes(np.array([0, 3, 1], np.uint8)))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(content)
    with pytest.raises(DatasetError, match="has label 3, expected at most 2"):
        open_fashion_mnist(str(folder), tmp_path, no_fetch)


class Fetched:
    """Takes files from a folder instead of the network, and remembers for what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.urls: list[str] = []

    def __call__(self, url: str, target: Path, sha256: str) -> None:
        self.urls.append(url)
        assert sha256 == fashion_mnist.DIGESTS[target.stem]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / target.name, target)


@pytest.fixture
def published(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    """A machine without Debian's files, in a world where `folder` is Fashion-MNIST."""
    identity = open_fashion_mnist(str(folder), tmp_path, no_fetch).identity
    monkeypatch.setattr(fashion_mnist, "DIGESTS", identity)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "debian")
    return Fetched(folder)


def test_files_are_fetched_once_and_kept(tmp_path: Path, published: Fetched) -> None:
    assert not fashion_mnist.is_here(tmp_path)
    source = open_fashion_mnist(None, tmp_path, published)
    assert source.identity == fashion_mnist.DIGESTS
    assert len(published.urls) == 4
    assert published.urls[0] == fashion_mnist.first_url()
    assert all(url.startswith("https://") for url in published.urls)
    assert fashion_mnist.is_here(tmp_path)
    open_fashion_mnist(None, tmp_path, published)
    assert len(published.urls) == 4


@pytest.mark.parametrize(
    "damage", [b"", gzip.compress(b"another", mtime=0)], ids=["empty", "another"]
)
def test_a_kept_file_that_was_damaged_is_fetched_again(
    tmp_path: Path, published: Fetched, damage: bytes
) -> None:
    open_fashion_mnist(None, tmp_path, published)
    (tmp_path / "fashion_mnist-idx" / "t10k-images-idx3-ubyte.gz").write_bytes(damage)
    published.urls.clear()
    open_fashion_mnist(None, tmp_path, published)
    assert [Path(url).name for url in published.urls] == ["t10k-images-idx3-ubyte.gz"]


def test_files_of_the_system_that_are_not_the_published_ones_are_refused(
    tmp_path: Path, published: Fetched
) -> None:
    debian = shutil.copytree(published.folder, tmp_path / "debian")
    assert open_fashion_mnist(None, tmp_path, no_fetch).identity == fashion_mnist.DIGESTS
    content = gzip.compress(idx_bytes(np.array([2, 1, 1], np.uint8)))
    (debian / "t10k-labels-idx1-ubyte.gz").write_bytes(content)
    with pytest.raises(DigestMismatch, match=r"t10k-labels.* has content sha256 .*, expected"):
        open_fashion_mnist(None, tmp_path, no_fetch)
