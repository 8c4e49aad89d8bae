"""Shards that were prepared before: copied to a store or a folder, and taken as data there."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.data.index import read_index
from mixnet_core.data.looking import found_images
from mixnet_core.data.mindrecord import pack
from mixnet_core.data.prepare import prepare_dataset, prepare_val
from mixnet_core.data.prepared_copy import ENTRY, expect_copyable, write_copy
from mixnet_core.data.reading import contents
from mixnet_core.errors import DatasetError, InputError, IntegrityError
from mixnet_core.processes.requests import PackedDataset, PackRequest
from mixnet_core.recipe.sections import Data
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.stages.options import adjusted_recipe
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.user_cache import VARIABLE
from tests.data.samples import data, write_image_folder
from tests.object_store import ObjectStore

CLASSES = {"ant": 30, "bee": 30}


def in_small_shards(request: PackRequest) -> PackedDataset:
    return pack(request.model_copy(update={"shard_bytes": 2000}))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    folder = write_image_folder(tmp_path_factory.mktemp("images"), CLASSES, {"ant": 5, "bee": 5})
    settings = data("image_folder", folder, layout="mindrecord")
    return prepare_dataset(settings, tmp_path_factory.mktemp("datasets"), pack=in_small_shards)


@pytest.fixture(params=["store", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    if request.param == "folder":
        return str(tmp_path / "share")
    store: ObjectStore = request.getfixturevalue("s3_environment")
    return f"s3://{store.bucket}/{tmp_path.name}"


def prepared(path: str, **changes: Any) -> Data:
    return data("prepared", path, **({"layout": "mindrecord"} | changes))


def test_another_host_has_the_same_dataset_without_the_images(
    packed: PreparedDataset, place: str, tmp_path: Path
) -> None:
    told: list[tuple[int, int | None]] = []
    copy = write_copy(packed, place, lambda done, total: told.append((done, total)))
    assert (copy.fingerprint, copy.reused) == (packed.fingerprint, False)
    assert told[-1] == (copy.bytes, copy.bytes)
    theirs = prepare_dataset(prepared(place), tmp_path / "datasets")
    assert theirs.fingerprint == packed.fingerprint
    assert theirs.counts == packed.counts
    assert not (tmp_path / "datasets").exists()
    for split in packed.counts:
        ours = read_index(Path(packed.root), split)
        index = read_index(Path(theirs.root), split)
        for mine, other in zip(
            contents(ours, ours.positions), contents(index, index.positions), strict=True
        ):
            assert mine() == other()
    measured = prepare_val(prepared(place), tmp_path / "datasets", classes=packed.classes)
    assert measured.val_fingerprint == packed.val_fingerprint


def test_writing_it_again_writes_nothing_and_another_is_refused(
    packed: PreparedDataset, place: str, tmp_path: Path
) -> None:
    write_copy(packed, place)
    assert write_copy(packed, place).reused
    # Of the same images, in other shards.
    again = data("image_folder", _images(packed), layout="mindrecord")
    other = prepare_dataset(again, tmp_path / "datasets", pack=pack)
    assert other.fingerprint == packed.fingerprint
    assert write_copy(other, place).reused
    fewer = again.model_copy(update={"train_limit": 20})
    other = prepare_dataset(fewer, tmp_path / "datasets", pack=pack)
    with pytest.raises(InputError, match=r"has another dataset, of fingerprint"):
        write_copy(other, place)


def test_of_two_that_write_at_once_the_first_is_named_and_whole(
    packed: PreparedDataset, place: str, tmp_path: Path
) -> None:
    again = data("image_folder", _images(packed), layout="mindrecord")
    other = prepare_dataset(again, tmp_path / "datasets", pack=pack)
    threads = [
        threading.Thread(target=write_copy, args=(dataset, place)) for dataset in (packed, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    theirs = prepare_dataset(prepared(place), tmp_path / "theirs")
    assert theirs.fingerprint == packed.fingerprint


def test_the_option_takes_the_cut_from_the_shards(packed: PreparedDataset, place: str) -> None:
    write_copy(packed, place)
    recipe = adjusted_recipe("digits", data=place)
    assert recipe.data.source == "prepared"
    assert (recipe.data.select_share, recipe.data.layout) == (0.2, "mindrecord")
    assert adjusted_recipe("digits", data=packed.root).data.source == "prepared"


def test_a_check_says_what_it_is_and_fetches_no_shard(
    packed: PreparedDataset, place: str, tmp_path: Path
) -> None:
    write_copy(packed, place)
    found = found_images(prepared(place), tmp_path)
    assert found.line == (f"{place}: prepared, 2 classes, 48 train, 12 select, 10 val images")
    assert found.classes == packed.classes
    assert not list((tmp_path / "cache").rglob("*.mindrecord"))


def test_a_recipe_that_says_another_cut_is_refused(
    packed: PreparedDataset, place: str, tmp_path: Path
) -> None:
    write_copy(packed, place)
    for look in (found_images, prepare_dataset):
        with pytest.raises(DatasetError, match=r"data\.split_seed is 7, .* prepared with 0: give"):
            look(prepared(place, split_seed=7), tmp_path)


def test_what_is_not_whole_is_no_dataset(
    packed: PreparedDataset, place: str, tmp_path: Path, s3_environment: ObjectStore
) -> None:
    with pytest.raises(DatasetError):
        prepare_dataset(prepared(place), tmp_path)
    write_copy(packed, place)
    if not place.startswith("s3://"):
        entry = json.loads((Path(place) / ENTRY).read_text())
        (Path(place) / ENTRY).write_text(json.dumps(entry | {"fingerprint": "0" * 64}))
        with pytest.raises(IntegrityError, match=r"has another dataset, .* than the prepared"):
            prepare_dataset(prepared(place), tmp_path)
        (Path(place) / ENTRY).write_text(json.dumps(entry))
        shutil.rmtree(next(path for path in Path(place).iterdir() if path.is_dir()))
        with pytest.raises(DatasetError, match="no prepared dataset"):
            prepare_dataset(prepared(place), tmp_path)
        return
    client = s3_environment.client()
    prefix = place.removeprefix(f"s3://{s3_environment.bucket}/")
    where = {"Bucket": s3_environment.bucket, "Key": f"{prefix}/{ENTRY}"}
    folder = json.loads(client.get_object(**where)["Body"].read())["folder"]
    shard = {**where, "Key": f"{prefix}/{folder}/train-00000.mindrecord"}
    content = client.get_object(**shard)["Body"].read()
    client.put_object(**shard, Body=content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=r"train-00000\.mindrecord has sha256 .* says"):
        prepare_dataset(prepared(place), tmp_path)
    client.put_object(**shard, Body=content)
    client.put_object(**(where | {"Key": f"{prefix}/{folder}/more.txt"}), Body=b"more")
    with pytest.raises(IntegrityError, match="has other files than were written there"):
        prepare_dataset(prepared(place), tmp_path)
    listed = {**where, "Key": f"{prefix}/{folder}/manifest.json"}
    manifest = client.get_object(**listed)["Body"].read()
    client.put_object(**listed, Body=manifest.replace(b'"sha256"', b'"sha"'))
    with pytest.raises(IntegrityError, match="its dataset says nothing"):
        prepare_dataset(prepared(place), tmp_path)
    client.put_object(**where, Body=b"{}")
    with pytest.raises(IntegrityError, match="names no prepared dataset"):
        prepare_dataset(prepared(place), tmp_path)


def test_a_place_of_other_things_stays_what_it_is(packed: PreparedDataset, place: str) -> None:
    images = Path(place) if "://" not in place else None
    if images is None:
        storage = open_storage(place)
        storage.create("train/cat/1.png", b"one")
    else:
        write_image_folder(images, CLASSES)
    for write in (lambda: expect_copyable("mindrecord", place), lambda: write_copy(packed, place)):
        with pytest.raises(InputError, match="has something else than a prepared dataset, 'train'"):
            write()
    assert open_storage(place).names() == ["train/"]


def test_only_shards_are_written_to_a_store(place: str, tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "images", CLASSES)
    with pytest.raises(InputError, match=r"give --set data\.layout=mindrecord"):
        expect_copyable("links", place)
    dataset = prepare_dataset(data("image_folder", folder), tmp_path / "datasets")
    with pytest.raises(InputError, match=r"give --set data\.layout=mindrecord"):
        write_copy(dataset, place)


def _images(packed: PreparedDataset) -> Path:
    return next(Path(packed.root).parents[1].glob("images*"))


def test_a_val_split_that_was_cut_is_measured_where_it_lies(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "images", CLASSES)
    made = prepare_dataset(data("image_folder", folder), tmp_path / "datasets")
    named = data("prepared", made.root)
    measured = prepare_val(named, tmp_path / "others", classes=made.classes)
    assert measured.val_fingerprint == made.val_fingerprint
    assert not (tmp_path / "others").exists()
