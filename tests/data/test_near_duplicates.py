"""Images that look alike, saved in the ways that people save them again."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from mixnet_core.data.mindrecord import pack
from mixnet_core.data.near_duplicates import find_near_duplicates, near_duplicates_of
from mixnet_core.data.prepare import prepare_dataset, prepare_val
from mixnet_core.errors import DatasetError, InputError, IntegrityError, MachineError
from mixnet_core.runs.summaries import summary
from mixnet_core.runs.values import NearDuplicates, PreparedDataset
from tests.data.samples import data


def photo(content: str) -> Image.Image:
    """A smooth picture that differs for every `content`, as photographs do."""
    random = np.random.default_rng(list(content.encode()))
    coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(np.asarray(cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_CUBIC)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for split, count in (("train", 12), ("val", 4)):
        for name in ("ant", "bee"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                path = root / split / name / f"{number:03d}.png"
                photo(f"{split}/{name}/{number}").save(path)
    return root


def prepared(folder: Path, tmp_path: Path, **changes: Any) -> PreparedDataset:
    settings = data("image_folder", folder, **changes)
    return prepare_dataset(settings, tmp_path / "datasets", pack=pack)


def listed(dataset: PreparedDataset) -> list[dict[str, str]]:
    with (Path(dataset.root) / "near_duplicates.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def found(folder: Path, tmp_path: Path, distance: int = 4, **changes: Any) -> NearDuplicates:
    return find_near_duplicates(prepared(folder, tmp_path, **changes), distance)


def test_unlike_images_are_not_alike(folder: Path, tmp_path: Path) -> None:
    dataset = prepared(folder, tmp_path)
    near = find_near_duplicates(dataset, 4)
    nothing = {"train": 0, "select": 0, "val": 0}
    assert near == NearDuplicates(
        distance=4,
        val_in_training=0,
        select_in_train=0,
        within=nothing,
        in_several_classes=0,
        all=0,
    )
    assert listed(dataset) == []
    assert summary(near) == "no two images look alike within 4 of 64 bits"


def resaved(image: Image.Image, how: str, path: Path) -> None:
    if how == "jpeg":
        image.save(path.with_suffix(".jpg"), quality=60)
    elif how == "bmp":
        image.save(path.with_suffix(".bmp"))
    elif how == "smaller":
        image.resize((48, 36)).save(path.with_suffix(".png"))
    elif how == "brighter":
        image.point([min(255, value + 6) for value in range(256)] * 3).save(
            path.with_suffix(".png")
        )
    else:
        image.convert("L").save(path.with_suffix(".png"))


@pytest.mark.parametrize("how", ["jpeg", "bmp", "smaller", "brighter", "grey"])
def test_a_val_image_that_was_saved_again_into_train_is_found_and_is_no_exact_duplicate(
    folder: Path, tmp_path: Path, how: str
) -> None:
    for number in range(3):
        image = Image.open(folder / "val" / "ant" / f"{number:03d}.png")
        resaved(image, how, folder / "train" / "ant" / f"again-{number}")
    dataset = prepared(folder, tmp_path)
    assert dataset.overlap is not None
    assert dataset.overlap.all == 0
    near = find_near_duplicates(dataset, 4)
    assert (near.val_in_training, near.in_several_classes, near.all) == (3, 0, 6)
    rows = listed(dataset)
    assert [row["group"] for row in rows] == sorted(row["group"] for row in rows)
    assert len({row["group"] for row in rows}) == 3
    assert "images that look like others within 4 of 64 bits: 3 of val in train or select" in (
        summary(near)
    )


@pytest.mark.parametrize("layout", ["in_place", "mindrecord"])
def test_the_layout_changes_nothing(folder: Path, tmp_path: Path, layout: str) -> None:
    image = Image.open(folder / "val" / "ant" / "000.png")
    resaved(image, "jpeg", folder / "train" / "bee" / "again")
    near = found(folder, tmp_path, layout=layout)
    assert near == found(folder, tmp_path)
    assert (near.val_in_training, near.in_several_classes) == (1, 2)


def test_what_is_the_same_byte_for_byte_counts_as_such_alone(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "val" / "ant" / "000.png", folder / "train" / "bee" / "x.png")
    shutil.copy(folder / "val" / "ant" / "001.png", folder / "val" / "ant" / "y.png")
    near = found(folder, tmp_path)
    assert (near.val_in_training, near.in_several_classes, near.all) == (0, 0, 0)
    assert near.within["val"] == 0


def test_the_same_bytes_and_a_third_alike_are_told_apart(folder: Path, tmp_path: Path) -> None:
    image = folder / "val" / "ant" / "000.png"
    shutil.copy(image, folder / "val" / "ant" / "copy.png")
    resaved(Image.open(image), "jpeg", folder / "val" / "ant" / "again")
    near = found(folder, tmp_path)
    assert near.within["val"] == 3
    assert near.all == 3


def test_alike_within_a_split_and_between_classes(folder: Path, tmp_path: Path) -> None:
    for number, name in ((0, "ant"), (1, "bee")):
        image = Image.open(folder / "val" / "ant" / f"{number:03d}.png")
        resaved(image, "jpeg", folder / "val" / name / f"again-{number}")
    near = found(folder, tmp_path)
    assert near.within == {"train": 0, "select": 0, "val": 4}
    assert near.in_several_classes == 2
    assert near.val_in_training == 0


def test_equal_hashes_are_found_at_distance_nothing(folder: Path, tmp_path: Path) -> None:
    image = Image.open(folder / "val" / "ant" / "000.png")
    resaved(image, "bmp", folder / "train" / "ant" / "again")
    assert found(folder, tmp_path, 0).val_in_training == 1


def test_the_counts_are_kept_for_the_report(folder: Path, tmp_path: Path) -> None:
    dataset = prepared(folder, tmp_path)
    root = Path(dataset.root)
    assert near_duplicates_of(root) is None
    near = find_near_duplicates(dataset, 3)
    assert near_duplicates_of(root) == near
    # Another preparing of it finds it whole.
    assert prepared(folder, tmp_path).reused
    (root / "near_duplicates.json").write_text(json.dumps({"distance": 3}))
    with pytest.raises(IntegrityError, match="--near-duplicates BITS"):
        near_duplicates_of(root)


def test_every_image_is_told_of_once(folder: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    find_near_duplicates(prepared(folder, tmp_path), 4, lambda *now: told.append(now))
    assert told == [(done, 32) for done in range(1, 33)]


def test_val_alone_has_no_training(folder: Path, tmp_path: Path) -> None:
    dataset = prepare_val(data("image_folder", folder), tmp_path / "datasets")
    near = find_near_duplicates(dataset, 4)
    assert (near.val_in_training, near.select_in_train, near.within) == (None, None, {"val": 0})


@pytest.mark.parametrize("distance", [-1, 11])
def test_other_distances_are_refused(folder: Path, tmp_path: Path, distance: int) -> None:
    with pytest.raises(InputError, match="expected 0 to 10 of 64"):
        found(folder, tmp_path, distance)


def test_an_image_that_broke_since_is_named(folder: Path, tmp_path: Path) -> None:
    dataset = prepared(folder, tmp_path, layout="in_place")
    broken = folder / "val" / "ant" / "000.png"
    broken.write_bytes(bytes(broken.stat().st_size))
    with pytest.raises(DatasetError, match=r"ant/000\.png cannot be read any more"):
        find_near_duplicates(dataset, 4)


def test_without_the_package_it_is_said_which(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(MachineError, match="run `pip install imagehash`"):
        found(folder, tmp_path)
