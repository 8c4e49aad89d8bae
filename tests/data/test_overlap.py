"""Images that stand more than once, in folders as people have them."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.data.index import open_prepared, overlap_of
from mixnet_core.data.mindrecord import pack
from mixnet_core.data.overlap import Copy, counted, duplicates
from mixnet_core.data.prepare import prepare_dataset, prepare_val
from mixnet_core.runs.summaries import summary
from mixnet_core.runs.values import Overlap, PreparedDataset
from tests.data.samples import data, write_image, write_image_folder

LAYOUTS = ("links", "in_place", "mindrecord")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_image_folder(tmp_path / "images", {"ant": 20, "bee": 20}, {"ant": 4, "bee": 4})


def prepared(folder: Path, tmp_path: Path, **changes: Any) -> PreparedDataset:
    return prepare_dataset(
        data("image_folder", folder, **changes), tmp_path / "datasets", pack=pack
    )


def overlap(dataset: PreparedDataset) -> Overlap:
    assert dataset.overlap is not None
    return dataset.overlap


def listed(dataset: PreparedDataset) -> list[dict[str, str]]:
    with (Path(dataset.root) / "duplicates.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_where_none_stands_twice_the_listing_is_empty_and_the_line_says_so(
    folder: Path, tmp_path: Path
) -> None:
    dataset = prepared(folder, tmp_path)
    nothing = {"train": 0, "select": 0, "val": 0}
    assert overlap(dataset) == Overlap(
        val_in_training=0, select_in_train=0, within=nothing, in_several_classes=0, all=0
    )
    assert (Path(dataset.root) / "duplicates.csv").read_text() == "sha256,split,class,path\n"
    assert "; no image stands twice, byte for byte" in summary(dataset)
    assert "duplicates.csv" not in summary(dataset)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_val_images_that_were_copied_into_train_are_counted_in_every_layout(
    folder: Path, tmp_path: Path, layout: str
) -> None:
    for path in sorted((folder / "val").glob("*/*.png"))[:5]:
        shutil.copy(path, folder / "train" / path.parent.name / f"copy-{path.name}")
    dataset = prepared(folder, tmp_path, layout=layout)
    assert overlap(dataset).val_in_training == 5
    assert overlap(dataset).all == 10
    assert overlap(dataset).in_several_classes == 0
    rows = listed(dataset)
    splits = Counter(row["split"] for row in rows)
    assert splits["val"] == splits["train"] + splits["select"] == 5
    # The images of one content stand together.
    assert all(
        one["sha256"] == other["sha256"] for one, other in zip(rows[::2], rows[1::2], strict=True)
    )
    manifest = json.loads((Path(dataset.root) / "manifest.json").read_text())
    assert manifest["duplicates"] == overlap(dataset).model_dump()
    line = summary(dataset)
    assert "images that stand twice, byte for byte: 5 of val in train or select too" in line
    assert f"listed in {dataset.root}/duplicates.csv" in line


def test_a_val_image_that_stands_in_select_alone_counts_too(folder: Path, tmp_path: Path) -> None:
    first = prepared(folder, tmp_path)
    select = next(Path(first.root, "select").glob("ant/*.png"))
    shutil.copy(select, folder / "val" / "ant" / "again.png")
    dataset = prepared(folder, tmp_path)
    assert (overlap(dataset).val_in_training, overlap(dataset).select_in_train) == (1, 0)
    assert {row["split"] for row in listed(dataset)} == {"select", "val"}


def test_a_copied_class_folder_makes_every_image_stand_under_two_classes(
    folder: Path, tmp_path: Path
) -> None:
    for split in ("train", "val"):
        shutil.copytree(folder / split / "ant", folder / split / "formica")
        for path in (folder / split / "formica").iterdir():
            path.rename(path.with_name(f"renamed {path.name}"))
    found = overlap(prepared(folder, tmp_path))
    assert found.in_several_classes == found.all == 2 * 24
    assert found.within["val"] == 8
    # A class is cut by itself: some of the copies fall on both sides.
    assert found.val_in_training == 0
    assert (found.select_in_train or 0) > 0


def test_the_same_image_in_two_classes_of_different_splits_is_found(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "val" / "ant" / "000.png", folder / "train" / "bee" / "x.png")
    found = overlap(prepared(folder, tmp_path))
    assert (found.in_several_classes, found.val_in_training, found.within["val"]) == (2, 1, 0)


def test_what_stands_three_times_within_val_is_three_images_there(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("x", "y"):
        shutil.copy(folder / "val" / "ant" / "000.png", folder / "val" / "ant" / f"{name}.png")
    found = overlap(prepared(folder, tmp_path))
    assert found.within == {"train": 0, "select": 0, "val": 3}
    assert (found.all, found.val_in_training) == (3, 0)


def test_where_all_splits_are_cut_from_one_folder_copies_fall_apart(tmp_path: Path) -> None:
    for number in range(6):
        for copy in range(5):
            for name in ("ant", "bee"):
                write_image(
                    tmp_path / "images/train" / name / f"{number}-{copy}.png", f"{name}{number}"
                )
    dataset = prepared(tmp_path / "images", tmp_path)
    found = overlap(dataset)
    assert found.val_in_training == dataset.counts["val"]
    assert (found.select_in_train or 0) > 0
    assert found.all == 60


def test_the_same_pixels_saved_otherwise_are_no_duplicate(tmp_path: Path, folder: Path) -> None:
    content = "val/ant/0"
    write_image(folder / "train" / "ant" / "again.bmp", content)
    assert overlap(prepared(folder, tmp_path)).all == 0


def test_a_dataset_of_an_earlier_version_is_counted_and_listed_without_preparing_it_anew(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "val" / "ant" / "000.png", folder / "train" / "ant" / "x.png")
    dataset = prepared(folder, tmp_path)
    root = Path(dataset.root)
    rows = listed(dataset)
    (root / "duplicates.csv").unlink()
    manifest = json.loads((root / "manifest.json").read_text())
    del manifest["duplicates"]
    (root / "manifest.json").write_text(json.dumps(manifest))
    assert overlap(open_prepared(root)).val_in_training == 1
    again = prepared(folder, tmp_path)
    assert again.reused
    assert overlap(again) == overlap(dataset)
    assert listed(again) == rows
    # The record of a run that was prepared then says nothing of it.
    assert overlap_of(dataset.model_copy(update={"overlap": None})) == overlap(dataset)


def test_where_there_is_val_alone_nothing_is_said_of_training(tmp_path: Path, folder: Path) -> None:
    shutil.copy(folder / "val" / "ant" / "000.png", folder / "val" / "bee" / "x.png")
    dataset = prepare_val(data("image_folder", folder), tmp_path / "datasets")
    found = overlap(dataset)
    assert (found.val_in_training, found.select_in_train) == (None, None)
    assert (found.within, found.in_several_classes) == ({"val": 2}, 2)


def test_digests_that_begin_alike_are_not_the_same() -> None:
    images = [
        Copy("a" * 16 + "1" * 48, "train", "ant", "1"),
        Copy("a" * 16 + "2" * 48, "val", "ant", "2"),
    ]
    assert duplicates(lambda: images) == []
    images.append(Copy("a" * 16 + "2" * 48, "train", "ant", "3"))
    groups = duplicates(lambda: images)
    assert groups == [[images[1], images[2]]]
    assert counted(groups, ("train", "select", "val")).val_in_training == 1


def test_each_count_is_of_images_and_not_of_contents() -> None:
    def group(digest: str, *places: str) -> list[Copy]:
        return [Copy(digest * 64, *place.split("/"), path=str(i)) for i, place in enumerate(places)]

    groups = [
        group("1", "train/ant", "select/ant", "select/ant"),
        group("2", "train/ant", "train/ant", "train/bee", "select/ant", "val/ant", "val/bee"),
        group("3", "select/ant", "val/ant"),
        group("4", "val/bee", "val/bee"),
    ]
    assert counted(groups, ("train", "select", "val")) == Overlap(
        val_in_training=3,
        select_in_train=3,
        within={"train": 3, "select": 2, "val": 4},
        in_several_classes=6,
        all=13,
    )
