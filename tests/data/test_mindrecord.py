"""Images in MindRecord shards, read by the process that trains or evaluates."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.data.batches import evaluation_pixels, training_batches
from mixnet_core.data.index import Index, open_prepared, read_index, read_manifest
from mixnet_core.data.mindrecord import pack
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.data.reading import contents
from mixnet_core.data.shards import shard_name, shard_ranges
from mixnet_core.errors import DatasetError, IntegrityError
from mixnet_core.recipe import load_recipe
from mixnet_core.values import PackedDataset, PackRequest, PreparedDataset
from tests.data.samples import data, write_image_folder


def in_small_shards(request: PackRequest) -> PackedDataset:
    return pack(request.model_copy(update={"shard_bytes": 2000}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    classes = {"ant": 30, "bee": 30}
    return write_image_folder(tmp_path_factory.mktemp("images"), classes, {"ant": 5, "bee": 5})


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    settings = data("image_folder", folder, layout="mindrecord")
    return prepare_dataset(settings, tmp_path_factory.mktemp("datasets"), pack=in_small_shards)


def test_a_shard_takes_what_fits_and_a_large_image_has_its_own() -> None:
    ranges = shard_ranges([4, 4, 4, 30, 1, 9, 1], shard_bytes=10)
    assert [list(positions) for positions in ranges] == [[0, 1], [2], [3], [4, 5], [6]]
    assert shard_ranges([7], shard_bytes=10) == [range(1)]
    million = shard_ranges([110_000] * 1_281_167)
    assert len(million) == 263
    assert sum(len(positions) for positions in million) == 1_281_167


def test_nothing_but_shards_and_indexes_is_left(packed: PreparedDataset, folder: Path) -> None:
    root = Path(packed.root)
    names = {path.name for path in root.iterdir()}
    manifest = read_manifest(root)
    listed = {shard["file"] for shards in manifest["shards"].values() for shard in shards}
    indexes = {"train.csv", "select.csv", "val.csv", "classes.txt", "manifest.json"}
    assert names == listed | indexes
    train = [name for name in listed if name.startswith("train-")]
    assert len(train) > 4
    assert {shard_name("train", 0), shard_name("train", 0) + ".db"} <= set(train)
    for shards in manifest["shards"].values():
        for shard in shards:
            content = (root / shard["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == shard["sha256"]


def test_they_are_the_same_images_as_in_any_other_layout(
    packed: PreparedDataset, folder: Path, tmp_path: Path
) -> None:
    linked = prepare_dataset(data("image_folder", folder), tmp_path)
    assert linked.fingerprint == packed.fingerprint
    one, other = read_index(Path(linked.root), "train"), read_index(Path(packed.root), "train")
    order = np.random.default_rng(3).permutation(len(one.paths))[:40]
    files = [content() for content in contents(one, order)]
    records = [content() for content in contents(other, order)]
    assert files == records


def batches_of(dataset: PreparedDataset) -> list[bytes]:
    changes = {
        "training.global_batch": 8,
        "devices.ranks": 1,
        "augment.crop_scale": [0.3, 1.0],
        "input.image_size": 8,
    }
    train = training_batches(
        read_index(Path(dataset.root), "train"),
        load_recipe("digits", changes),
        classes=2,
        epoch=1,
        rank=0,
        threads=2,
        first_step=2,
    )
    settings = load_recipe("digits", changes).input
    val = read_index(Path(dataset.root), "val")
    pixels = evaluation_pixels(val, settings, 3, batch=4, threads=2)
    return [batch.images.tobytes() for batch in train] + [b.images.tobytes() for b in pixels]


def test_training_and_evaluation_read_the_same_from_shards_and_files(
    packed: PreparedDataset, folder: Path, tmp_path: Path
) -> None:
    linked = prepare_dataset(data("image_folder", folder), tmp_path)
    found = batches_of(packed)
    assert len(found) == 4 + 3
    assert found == batches_of(linked)


def test_a_dataset_that_was_moved_is_read_where_it_is(
    packed: PreparedDataset, tmp_path: Path
) -> None:
    moved = Path(packed.root).rename(tmp_path / "moved")
    try:
        assert open_prepared(moved).fingerprint == packed.fingerprint
        index = read_index(moved, "val")
        assert len(list(contents(index, np.arange(10)))) == 10
    finally:
        moved.rename(packed.root)


def test_a_shard_that_is_missing_or_cut_is_named(folder: Path, tmp_path: Path) -> None:
    settings = data("image_folder", folder, layout="mindrecord")
    root = Path(prepare_dataset(settings, tmp_path, pack=in_small_shards).root)
    shard = root / shard_name("val", 0)
    content = shard.read_bytes()
    shard.unlink()
    with pytest.raises(IntegrityError, match=r"val-00000\.mindrecord is missing"):
        open_prepared(root)
    shard.write_bytes(content[:-10])
    with pytest.raises(IntegrityError, match=rf"has {len(content) - 10} bytes, expected"):
        open_prepared(root)


def test_shards_that_do_not_hold_what_the_index_says_are_an_error(
    packed: PreparedDataset,
) -> None:
    index = read_index(Path(packed.root), "train")
    swapped = Index(
        index.root, index.paths, index.labels, index.sizes, tuple(reversed(index.shards))
    )
    with pytest.raises(IntegrityError, match="hold another image at place 0"):
        list(contents(swapped, np.arange(20)))


def test_it_needs_the_process_that_packs(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="layout mindrecord is for `mixnet prepare`"):
        prepare_dataset(data("image_folder", folder, layout="mindrecord"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_images_that_are_no_files_are_packed_too(tmp_path: Path) -> None:
    settings = data("digits", layout="mindrecord", train_limit=100)
    dataset = prepare_dataset(settings, tmp_path, pack=pack)
    index = read_index(Path(dataset.root), "train")
    assert all(content().startswith(b"\x89PNG") for content in contents(index, np.arange(20)))
    assert not (Path(dataset.root) / "train").exists()
