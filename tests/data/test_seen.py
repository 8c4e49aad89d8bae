"""The digests of what training and selection saw, in memory and as a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.data.index import read_rows
from mixnet_core.data.prepare import prepare_dataset, prepare_val
from mixnet_core.data.seen import Seen, read_seen, seen_in_training, val_digests, write_seen
from mixnet_core.errors import IntegrityError, MachineError
from mixnet_core.runs.values import PreparedDataset
from tests.data.samples import data, write_image_folder


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_image_folder(tmp_path / "images", {"ant": 10, "bee": 10}, {"ant": 3, "bee": 3})


@pytest.fixture
def dataset(folder: Path, tmp_path: Path) -> PreparedDataset:
    return prepare_dataset(data("image_folder", folder), tmp_path / "datasets")


def seen_of(root: Path) -> Seen:
    seen = seen_in_training(root)
    assert seen is not None
    return seen


def test_train_and_select_were_seen_and_val_was_not(dataset: PreparedDataset) -> None:
    root = Path(dataset.root)
    seen = seen_of(root)
    assert len(seen.prefixes) == 20
    for split in ("train", "select"):
        digests = [row.sha256 for row in read_rows(root, split)]
        assert seen.count(digests) == len(digests)
    assert seen.count(val_digests(root)) == 0


def test_each_image_is_told_by_itself_and_copies_count_each(dataset: PreparedDataset) -> None:
    (known, *_) = [row.sha256 for row in read_rows(Path(dataset.root), "select")]
    seen = seen_of(Path(dataset.root))
    asked = [digest("x"), known, digest("y"), known]
    assert seen.mask(asked).tolist() == [False, True, False, True]
    assert seen.count(asked) == 2
    assert seen.count([]) == 0


def test_a_dataset_of_val_alone_knows_of_no_training(folder: Path, tmp_path: Path) -> None:
    dataset = prepare_val(data("image_folder", folder), tmp_path / "other")
    assert seen_in_training(Path(dataset.root)) is None


def test_the_file_is_eight_bytes_an_image_as_documented(
    dataset: PreparedDataset, tmp_path: Path
) -> None:
    seen = seen_of(Path(dataset.root))
    write_seen(tmp_path / "seen.bin", seen)
    content = (tmp_path / "seen.bin").read_bytes()
    digests = [
        row.sha256 for split in ("train", "select") for row in read_rows(Path(dataset.root), split)
    ]
    assert content == b"".join(sorted(bytes.fromhex(digest)[:8] for digest in digests))
    np.testing.assert_array_equal(read_seen(tmp_path / "seen.bin").prefixes, seen.prefixes)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[8:] + b[:8], lambda b: b + b[-8:]]
)
def test_a_damaged_file_is_refused(
    dataset: PreparedDataset, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    write_seen(tmp_path / "seen.bin", seen_of(Path(dataset.root)))
    content = (tmp_path / "seen.bin").read_bytes()
    (tmp_path / "seen.bin").write_bytes(damage(content))
    with pytest.raises(IntegrityError, match="validate the run again"):
        read_seen(tmp_path / "seen.bin")
    with pytest.raises(MachineError):
        read_seen(tmp_path / "none.bin")
