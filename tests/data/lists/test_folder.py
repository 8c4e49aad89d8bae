"""Which list of a folder is which."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.data.lists.folder import ListFolder
from mixnet_core.errors import DatasetError

LABELLED = "path,label\na.png,0\n"


def folder(root: Path, **lists: str) -> ListFolder:
    for name, text in lists.items():
        (root / f"{name}.csv").write_text(text)
    return ListFolder(root)


@pytest.mark.parametrize("name", ["valid", "validation", "Val", "VALID", "test", "Testing"])
def test_a_list_of_another_name_is_taken_for_val_and_that_is_said(
    tmp_path: Path, name: str
) -> None:
    lists = folder(tmp_path, train=LABELLED, **{name: LABELLED})
    assert (lists.train, lists.val) == ("train.csv", f"{name}.csv")
    assert lists.notes == [f"{name}.csv is taken for val"]


def test_of_several_one_is_taken_and_the_others_are_named(tmp_path: Path) -> None:
    lists = folder(tmp_path, training=LABELLED, train=LABELLED, test=LABELLED, valid=LABELLED)
    assert (lists.train, lists.val) == ("train.csv", "valid.csv")
    assert lists.notes == [
        "training.csv is not used, train.csv is",
        "test.csv is not used, valid.csv is",
        "valid.csv is taken for val",
    ]


@pytest.mark.parametrize("text", ["id\n1\n2\n", "id,label\n1,\n", "a,b\n1,2\n", "", "\xff\n"])
def test_a_list_for_testing_without_labels_is_not_taken_and_mentioned(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "test.csv").write_bytes(text.encode("latin-1"))
    lists = folder(tmp_path, train=LABELLED)
    assert lists.val is None
    assert lists.notes == [
        "test.csv is not used: it does not say what is on its images",
        "no val.csv: val is cut from train.csv",
    ]


def test_a_list_for_val_without_labels_is_refused(tmp_path: Path) -> None:
    lists = folder(tmp_path, valid="path\na.png\n")
    with pytest.raises(DatasetError, match=r"valid\.csv has the columns path, none of them with"):
        lists.values(str(lists.val))


def test_a_folder_without_a_list_is_refused_with_those_that_may_be_meant(tmp_path: Path) -> None:
    lists = folder(tmp_path, labels=LABELLED)
    message = r"has no train\.csv: expected .*; rename the list that is meant \(labels\.csv\)"
    with pytest.raises(DatasetError, match=message):
        lists.expect_train()
    with pytest.raises(DatasetError, match=r"has no val\.csv and no train\.csv: .*labels\.csv"):
        lists.expect_any()
    with pytest.raises(DatasetError, match=r"nowhere is no folder"):
        ListFolder(tmp_path / "nowhere")


def test_what_was_decided_to_find_images_is_noted(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/1.png").touch()
    lists = folder(tmp_path, train="id,label,image_name\n7,0,1.png\n")
    assert lists.located("train.csv").paths == ["images/1.png"]
    assert lists.notes == [
        "train.csv names images in image_name, not in id",
        "the images of train.csv are in images/",
    ]
