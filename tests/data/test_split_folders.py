from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.data.index import read_index, read_manifest
from mixnet_core.data.prepare import prepare_dataset, prepare_val
from mixnet_core.data.source import source_of_folder
from mixnet_core.data.split_folders import expect_train, split_folders
from mixnet_core.data.split_names import candidates
from mixnet_core.errors import DatasetError
from tests.data.samples import data, write_idx_folder, write_image, write_image_folder

CLASSES = {"ant": 8, "bee": 8}


@pytest.mark.parametrize(
    "name", ["val", "Val", "VALID", "valid", "validation", "Validation", "test", "Testing"]
)
def test_val_is_known_by_its_names_in_any_case(tmp_path: Path, name: str) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES, {"ant": 2, "bee": 2})
    (root / "val").rename(root / name)
    dataset = prepare_dataset(data("image_folder", root, layout="in_place"), tmp_path / "datasets")
    assert dataset.counts["val"] == 4
    index = read_index(Path(dataset.root), "val")
    assert {path.split("/")[0] for path in index.paths} == {name}
    assert dataset.notes == (() if name == "val" else (f"{name}/ is taken for val",))


def test_of_several_the_first_of_the_order_is_val_and_the_others_are_said(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES, {"ant": 2, "bee": 2})
    (root / "val").rename(root / "valid")
    for number in range(3):
        write_image(root / "test" / "ant" / f"{number}.png", f"test {number}")
    splits = split_folders(root)
    assert (splits.train, splits.val, splits.unused) == ("train", "valid", ("test",))
    dataset = prepare_dataset(data("image_folder", root), tmp_path / "datasets")
    assert dataset.notes == (
        "23 files found, 20 taken, 3 left out: 3 in test/, which is not used",
        "valid/ is taken for val",
    )


def test_a_test_split_without_labels_is_said_and_val_is_cut(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES)
    write_image(root / "test" / "1.png", "of a competition")
    dataset = prepare_dataset(data("image_folder", root), tmp_path / "datasets")
    assert dataset.notes[1:] == ("no val/: val is cut from train/",)
    assert "1 in test/, which is not used" in dataset.notes[0]


def test_a_folder_that_lies_deeper_is_named(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "flowers" / "flowers", CLASSES)
    with pytest.raises(DatasetError, match=r"has no folder train/.*flowers/ in it has one"):
        expect_train(tmp_path / "flowers", split_folders(tmp_path / "flowers"))


def test_a_broken_link_in_place_of_a_split_or_a_class_is_named(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES)
    for place in ("val", "train/cow", "train/ant/gone"):
        (root / place).symlink_to(tmp_path / "not-mounted")
        with pytest.raises(DatasetError, match=rf"{place} is a broken link to .*not-mounted: moun"):
            prepare_dataset(data("image_folder", root), tmp_path / "datasets")
        (root / place).unlink()


def test_links_that_lead_in_a_circle_are_no_folders(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES)
    for place in ("notes", "train/.cache", "train/ant/.cache", ".git"):
        (root / place).symlink_to(Path(place).name)
    assert sum(prepare_dataset(data("image_folder", root), tmp_path / "x").counts.values()) == 16
    assert source_of_folder(root, expected="digits") == "image_folder"
    for place in ("val", "train/cow", "train/ant/gone.png"):
        (root / place).symlink_to(Path(place).name)
        with pytest.raises(DatasetError, match=rf"{place} is a broken link to .*: mount or"):
            prepare_dataset(data("image_folder", root), tmp_path / "datasets")
        (root / place).unlink()


def test_training_images_are_never_measured_in_place_of_val(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES)
    section = data("image_folder", root)
    with pytest.raises(DatasetError, match=r"images has no val split, only training images: name"):
        prepare_val(section, tmp_path / "datasets")
    trained = prepare_dataset(section, tmp_path / "datasets")
    again = prepare_val(
        section, tmp_path / "datasets", trained_on=True, fingerprint=trained.val_fingerprint
    )
    assert again.val_fingerprint == trained.val_fingerprint
    # Another image moves the cut: what is val now may have been trained on.
    write_image(root / "train" / "ant" / "new.png", "new")
    with pytest.raises(DatasetError, match="what is cut from its training images now is not what"):
        prepare_val(
            section, tmp_path / "datasets", trained_on=True, fingerprint=trained.val_fingerprint
        )


def test_a_folder_that_is_named_itself_is_measured_whatever_its_name(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES)
    dataset = prepare_val(data("image_folder", root / "train"), tmp_path / "datasets")
    assert dataset.counts == {"val": 16}


def test_labels_of_measured_images_are_the_weights(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES)
    dataset = prepare_val(
        data("image_folder", root / "train"),
        tmp_path / "datasets",
        classes=("bee", "cow", "ant"),
    )
    assert dataset.classes == ("bee", "cow", "ant")
    rows = (Path(dataset.root) / "val.csv").read_text().splitlines()[1:]
    assert {(row.split("/")[1], row.split(",")[1]) for row in rows} == {("bee", "0"), ("ant", "2")}


def test_lists_are_known_by_the_same_names() -> None:
    names = ["test.csv", "Valid.CSV", "train.csv", "val.txt"]
    assert candidates(names, "val", suffix=".csv") == ["Valid.CSV", "test.csv"]
    assert candidates(names, "train", suffix=".csv") == ["train.csv"]


def test_a_test_split_of_no_class_that_train_has_is_not_val(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES)
    write_image(root / "test" / "unknown" / "1.png", "of a competition")
    assert split_folders(root).val is None
    write_image(root / "test" / "ant" / "1.png", "labelled")
    assert split_folders(root).val == "test"


@pytest.mark.parametrize("names", [("valid", "invalid"), ("train", "plane"), ("test", "train")])
def test_class_folders_may_be_called_as_splits_are(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        write_image(tmp_path / "images" / name / "0.png", name)
    dataset = prepare_val(data("image_folder", tmp_path / "images"), tmp_path / "datasets")
    assert dataset.classes == tuple(sorted(names))
    assert dataset.counts == {"val": 2}


def test_a_flat_val_beside_class_folders_of_train_is_refused(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES)
    write_image(root / "val" / "0.png", "flat")
    with pytest.raises(DatasetError, match="val has no class folders"):
        prepare_val(data("image_folder", root), tmp_path / "datasets")


def test_what_was_measured_is_said_as_it_was_named(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES, {"ant": 2, "bee": 2})
    places = [
        read_manifest(Path(prepare_val(data("image_folder", at), tmp_path / "datasets").root))
        for at in (root, root / "val", root)
    ]
    assert [place["origin"]["val"] for place in places] == ["val/", "", "val/"]


def test_a_source_without_a_split_alone_finds_labels_by_name_too(tmp_path: Path) -> None:
    idx = data("fashion_mnist", write_idx_folder(tmp_path / "idx", [0, 1] * 6, [0, 1] * 3))
    assert prepare_val(idx, tmp_path / "datasets", classes=("0", "1")).counts["val"] == 6
    with pytest.raises(DatasetError, match=r"not trained for \(0, 1\)"):
        prepare_val(idx, tmp_path / "datasets", classes=("zero", "one"))
    with pytest.raises(DatasetError, match="another order or fewer"):
        prepare_val(idx, tmp_path / "datasets", classes=("1", "0"))
