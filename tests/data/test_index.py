from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.data.index import (
    Row,
    dataset_fingerprint,
    open_prepared,
    read_index,
    read_rows,
    write_classes,
    write_index,
)
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import DatasetError, IntegrityError
from tests.data.samples import data, write_image_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    images = write_image_folder(tmp_path / "images", {"ant": 6, "bee": 4}, {"bee": 2})
    return Path(prepare_dataset(data("image_folder", images), tmp_path / "datasets").root)


def test_an_index_lists_existing_images_with_their_labels(root: Path) -> None:
    index = read_index(root, "train")
    assert index.root == root
    assert index.labels.dtype == np.int32
    assert index.labels.tolist() == [0] * 5 + [1] * 3
    assert all((root / path).is_file() for path in index.paths)
    assert [Path(path).parts[1] for path in index.paths] == ["ant"] * 5 + ["bee"] * 3
    with pytest.raises(ValueError, match="read-only"):
        index.labels[0] = 1


def test_names_with_commas_quotes_and_foreign_line_ends_come_back(tmp_path: Path) -> None:
    rows = [Row(f"train/{name}/0.png", 0, "0" * 64, 7) for name in ('a,"b"', "c\u2028d", " e")]
    write_classes(tmp_path, ("x\u2028y", "z"))
    write_index(tmp_path, "train", rows)
    assert read_rows(tmp_path, "train") == rows


def test_an_unknown_split_or_folder_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'test': expected one of train, select, val"):
        read_index(root, "test")
    for read in (open_prepared, lambda folder: read_index(folder, "train")):
        with pytest.raises(DatasetError, match=r"no prepared dataset at .*: run `mixnet prepare`"):
            read(tmp_path / "nowhere")


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return replace


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "is missing"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "is damaged"),
        (lambda path: path.write_text("path,label,sha256,bytes\n"), "lists no images"),
        (replaced("path,label,sha256,bytes", "path,label"), "its header is path,label, expected"),
        (replaced(",0,", ",zero,"), "is damaged"),
        (replaced(",0,", ",2,"), "the label 2, expected 0 to 1"),
        (replaced(",0,", ",-1,"), "the label -1, expected 0 to 1"),
        (replaced(",0,", ","), "is damaged"),
        (replaced("select/", "select/../"), "outside its folder"),
        (replaced("select/", "/etc/"), "outside its folder"),
        (replaced("select/", "select/\0/"), "outside its folder"),
    ],
)
def test_a_damaged_index_is_named(root: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(root / "select.csv")
    for read in (open_prepared, lambda folder: read_index(folder, "select")):
        with pytest.raises(IntegrityError, match=message) as caught:
            read(root)
        assert str(root / "select.csv") in str(caught.value)
        assert "\n" not in str(caught.value)


def edited(**changes: object) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        path = root / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def without_an_image(root: Path) -> None:
    (root / read_index(root, "val").paths[0]).unlink()


def without_a_class(root: Path) -> None:
    shutil.rmtree(root / "train" / "bee")


def with_another_digest(root: Path) -> None:
    path = root / "train.csv"
    *lines, last = path.read_text().splitlines()
    image, label, sha256, size = last.split(",")
    other = "0" if sha256[-1] != "0" else "1"
    path.write_text("\n".join([*lines, f"{image},{label},{sha256[:-1]}{other},{size}"]) + "\n")


def with_a_cut_image(root: Path) -> None:
    path = root / read_index(root, "val").paths[1]
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1])


def with_a_row_less(root: Path) -> None:
    path = root / "train.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def with_swapped_classes(root: Path) -> None:
    (root / "classes.txt").write_text("bee\nant\n")


def with_cut_classes(root: Path) -> None:
    (root / "classes.txt").write_text("ant\nbe")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edited(format=0), "has format 0, expected 2"),
        (edited(fingerprint="0" * 64), "have fingerprint .*, its manifest says 0000"),
        (edited(counts={}), "do not fit its manifest's counts"),
        (lambda root: (root / "manifest.json").write_text("[]"), "is no dataset's manifest"),
        (lambda root: (root / "manifest.json").write_text("{"), "is not valid JSON"),
        (without_an_image, "1 of 2 images of split val .*, the first is val/bee/000.png"),
        (without_a_class, "3 of 8 images of split train are missing"),
        (with_another_digest, "have fingerprint"),
        (with_a_cut_image, r"1 of 2 images of split val .* another size .* val/bee/001\.png"),
        (edited(layout="heap"), "has no layout that is known"),
        (edited(layout="in_place"), "has no layout that is known"),
        (edited(layout="mindrecord"), "has no layout that is known"),
        (edited(layout="mindrecord", shards={"train": []}), "has no layout that is known"),
        (
            edited(
                layout="mindrecord", shards={split: [{}] for split in ("train", "select", "val")}
            ),
            "has no layout that is known",
        ),
        (edited(account=[]), "has splits or an account of another form"),
        (edited(account={"taken": math.inf}), "has splits or an account of another form"),
        (edited(account={"taken": None}), "has splits or an account of another form"),
        (edited(splits=["train", "select"]), "has splits or an account of another form"),
        (edited(splits=[{}, "val"]), "has splits or an account of another form"),
        (with_a_row_less, "do not fit its manifest's counts"),
        (with_swapped_classes, "do not fit its manifest's counts"),
        (with_cut_classes, "classes.txt is damaged"),
    ],
)
def test_a_damaged_dataset_is_not_opened(
    root: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(root)
    with pytest.raises(IntegrityError, match=message):
        open_prepared(root)


def test_a_dataset_reopens_as_it_was_prepared(root: Path) -> None:
    dataset = open_prepared(root)
    assert dataset.root == str(root)
    assert dataset.classes == ("ant", "bee")
    assert dataset.counts == {"train": 8, "select": 2, "val": 2}
    assert dataset.reused


def test_the_fingerprint_sees_content_split_label_and_classes_but_no_names() -> None:
    def rows(split: str, *images: tuple[str, int, str]) -> dict[str, list[Row]]:
        return {"train": [], "select": [], "val": [], split: [Row(*image, 9) for image in images]}

    one = dataset_fingerprint(("a", "b"), rows("train", ("x", 0, "11"), ("y", 0, "22")))
    same = dataset_fingerprint(("a", "b"), rows("train", ("y", 0, "11"), ("x", 0, "22")))
    assert one == same
    others = [
        dataset_fingerprint(("a", "b"), rows("train", ("x", 0, "11"), ("y", 0, "23"))),
        dataset_fingerprint(("a", "b"), rows("train", ("x", 0, "11"), ("y", 1, "22"))),
        dataset_fingerprint(("a", "b"), rows("val", ("x", 0, "11"), ("y", 0, "22"))),
        dataset_fingerprint(("a", "c"), rows("train", ("x", 0, "11"), ("y", 0, "22"))),
        dataset_fingerprint(("a", "b"), rows("train", ("x", 0, "11"))),
    ]
    assert len({one, *others}) == 6
