"""Data in a store: the same as the folder that it was copied from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.data import stored
from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.index import read_index
from mixnet_core.data.looking import found_images
from mixnet_core.data.prepare import prepare_dataset, prepare_val
from mixnet_core.data.stored import canonical, glimpse
from mixnet_core.errors import DatasetError, InputError, TransientError
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.stages.options import adjusted_recipe
from mixnet_core.storage.mirror import patience
from mixnet_core.storage.schemes import s3 as storage_s3
from mixnet_core.storage.user_cache import VARIABLE
from tests.data.samples import data, write_idx_folder, write_image_folder
from tests.object_store import ObjectStore

CLASSES = {"cat": 8, "dog": 8}
VAL = {"cat": 2, "dog": 2}


@pytest.fixture
def store(
    s3_environment: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return s3_environment


def copied(store: ObjectStore, folder: Path, prefix: str) -> str:
    client = store.client()
    for path in folder.rglob("*"):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(folder).as_posix()}"
            client.put_object(Bucket=store.bucket, Key=key, Body=path.read_bytes())
    return f"s3://{store.bucket}/{prefix}"


def image_folder(folder: Path) -> Path:
    return write_image_folder(folder, CLASSES, VAL)


def lists(folder: Path) -> Path:
    write_image_folder(folder / "images", CLASSES)
    rows = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.png"))]
    lines = [f"{row},{row.split('/')[2]}\n" for row in rows]
    (folder / "train.csv").write_text("path,label\n" + "".join(lines[::2]))
    (folder / "val.csv").write_text("path,label\n" + "".join(lines[1::2]))
    return folder


def imagenet(folder: Path) -> Path:
    return write_image_folder(folder, dict.fromkeys(wnids()[:2], 6), dict.fromkeys(wnids()[:2], 2))


def idx(folder: Path) -> Path:
    return write_idx_folder(folder, [0, 1, 2, 3] * 20, [3, 2, 1, 0])


SOURCES: list[tuple[str, Any, dict[str, Any]]] = [
    ("image_folder", image_folder, {}),
    ("image_folder", image_folder, {"layout": "in_place"}),
    ("lists", lists, {"layout": "in_place"}),
    ("imagenet", imagenet, {"subset": True, "layout": "in_place"}),
    ("fashion_mnist", idx, {}),
]


@pytest.mark.parametrize(("source", "make", "changes"), SOURCES)
def test_a_prefix_has_the_fingerprint_of_the_folder(
    store: ObjectStore, tmp_path: Path, source: str, make: Any, changes: dict[str, Any]
) -> None:
    folder = make(tmp_path / "folder")
    uri = copied(store, folder, f"{source}-{len(changes)}")
    ours = prepare_dataset(data(source, folder, **changes), tmp_path / "datasets")
    told: list[Any] = []
    stored = data(source, uri, **changes)
    theirs = prepare_dataset(stored, tmp_path / "datasets", on_fetched=told.append)
    assert (theirs.fingerprint, theirs.counts) == (ours.fingerprint, ours.counts)
    assert theirs.notes == ours.notes
    assert told[-1].done == told[-1].total > 0
    index = read_index(Path(theirs.root), "train")
    assert all((index.root / path).is_file() for path in index.paths)
    assert prepare_dataset(stored, tmp_path / "datasets").reused


@pytest.mark.parametrize(("source", "make", "changes"), SOURCES)
def test_a_check_sees_what_preparing_would_and_fetches_no_picture(
    store: ObjectStore, tmp_path: Path, source: str, make: Any, changes: dict[str, Any]
) -> None:
    folder = make(tmp_path / "folder")
    uri = copied(store, folder, f"checked-{source}-{len(changes)}")
    ours = found_images(data(source, folder, **changes), tmp_path)
    stored = data(source, uri, **changes)
    theirs = found_images(stored, tmp_path)
    assert theirs.line == ours.line.replace(str(folder), uri)
    assert theirs.classes == ours.classes
    assert "to be fetched" in theirs.more[0]
    assert list(theirs.more[1:]) == list(ours.more)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    prepare_dataset(stored, tmp_path / "datasets")
    assert "all of them on this machine" in found_images(stored, tmp_path).more[0]


def test_a_check_says_what_it_cannot_know_without_fetching(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "_MOST_READ", 5)
    folder = image_folder(tmp_path / "folder")
    for path in list(folder.rglob("*.png")):
        path.rename(path.with_suffix(""))
    there = data("image_folder", copied(store, folder, "unnamed"))
    found = found_images(there, tmp_path)
    assert "20 objects" in found.line
    assert "what 20 without a suffix are is looked at then" in found.line
    assert prepare_dataset(there, tmp_path / "datasets").counts["val"] == 4
    assert "2 classes" in found_images(there, tmp_path).line


def test_a_check_does_not_wait_for_a_file_of_labels(
    tmp_path: Path, s3_environment: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setattr(storage_s3, "MAX_ATTEMPTS", 1)
    waited: list[Any] = []
    monkeypatch.setattr(patience.Patience, "_waits", lambda *args: waited.append(args))
    labels = {"val_labels": "s3://releases/labels.txt", "subset": True}
    there = data("imagenet", imagenet(tmp_path / "folder"), layout="in_place", **labels)
    with pytest.raises(TransientError, match="no answer from 127"):
        found_images(there, tmp_path)
    assert all(of._seconds == 0 for of, *_ in waited)


def test_an_object_that_changed_makes_another_dataset(store: ObjectStore, tmp_path: Path) -> None:
    uri = copied(store, image_folder(tmp_path / "folder"), "other")
    stored = data("image_folder", uri)
    before = prepare_dataset(stored, tmp_path / "datasets")
    content = (tmp_path / "folder/val/cat/000.png").read_bytes()
    key = "other/train/cat/000.png"
    store.client().put_object(Bucket=store.bucket, Key=key, Body=content)
    after = prepare_dataset(stored, tmp_path / "datasets")
    assert after.fingerprint != before.fingerprint
    assert Path(before.root).is_dir()


def test_val_images_are_measured_where_they_are(store: ObjectStore, tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "folder")
    uri = copied(store, folder, "measured")
    ours = prepare_val(data("image_folder", folder / "val"), tmp_path / "datasets")
    stored = data("image_folder", f"{uri}/val")
    theirs = prepare_val(stored, tmp_path / "datasets")
    assert theirs.val_fingerprint == ours.val_fingerprint


def test_what_is_wrong_is_said_in_words_of_the_uri(store: ObjectStore, tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "folder")
    (folder / "train/cat/000.png").write_bytes(b"")
    uri = copied(store, folder, "wrong")
    stored = data("image_folder", uri)
    for look in (found_images, prepare_dataset):
        with pytest.raises(DatasetError) as refused:
            look(stored, tmp_path / "datasets")
        assert str(refused.value).startswith(f"{uri}/train/cat/000.png cannot be used")
    with pytest.raises(DatasetError, match="nothing is below s3:"):
        found_images(data("image_folder", f"{uri}/none"), tmp_path)


@pytest.mark.parametrize(
    ("source", "make"),
    [("image_folder", image_folder), ("lists", lists), ("fashion_mnist", idx)],
)
def test_the_option_finds_out_which_source_a_prefix_is_for(
    store: ObjectStore, tmp_path: Path, source: str, make: Any
) -> None:
    uri = copied(store, make(tmp_path / "folder"), f"option-{source}")
    recipe = "fashion_mnist" if source == "fashion_mnist" else "digits"
    chosen = adjusted_recipe(recipe, data=f"{uri}/")
    assert (chosen.data.source, chosen.data.path) == (source, uri)
    with glimpse(uri) as folder:
        sizes = [path.stat().st_size for path in folder.rglob("*.png")]
    assert not any(sizes)


def test_a_recipe_may_name_the_prefix_itself(store: ObjectStore, tmp_path: Path) -> None:
    uri = copied(store, image_folder(tmp_path / "folder"), "recipe")
    changes = {"data.source": "image_folder", "data.path": uri, "network.num_classes": None}
    recipe = load_recipe("digits", changes)
    dataset = prepare_dataset(recipe.data, tmp_path / "datasets")
    assert dataset.classes == ("cat", "dog")
    manifest = json.loads((Path(dataset.root) / "manifest.json").read_text())
    assert manifest["origin"] == {"train": "train/", "val": "val/"}


def test_a_file_uri_is_the_folder(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "a folder")
    assert canonical(folder.as_uri()) == str(folder)
    ours = prepare_dataset(data("image_folder", folder), tmp_path / "datasets")
    stored = data("image_folder", folder.as_uri())
    assert prepare_dataset(stored, tmp_path / "datasets").root == ours.root


@pytest.mark.parametrize("uri", ["s3://KEY:SECRET@bucket/x", "gs://bucket/x", "s3://B!/x"])
def test_a_uri_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(InputError) as refused:
        adjusted_recipe("digits", data=uri)
    assert "SECRET" not in str(refused.value)
