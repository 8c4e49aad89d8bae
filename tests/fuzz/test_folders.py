"""Folders of classes: check and preparing agree, every file is accounted for, labels are names."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from hypothesis import assume

from mixnet_core.data.looking import found_images
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.data.sources.image_folder import open_image_folder
from mixnet_core.errors import visible
from tests.data.samples import data
from tests.fuzz.bounds import ended, place
from tests.fuzz.folders import Tree, files_below, trees, unsound, write
from tests.fuzz.searching import rule

SPLITS = ("train", "select", "val")


@rule(few=60, tree=trees())
def test_check_refuses_what_preparing_refuses_in_the_same_words(tree: Tree) -> None:
    with place() as folder:
        section = data("image_folder", write(tree, folder / "images"))
        checked = ended(found_images, section, folder / "datasets")
        prepared = ended(prepare_dataset, section, folder / "datasets")
    if checked.error is None and prepared.error is not None:
        # Only decoding tells.
        assert "cannot be used" in str(prepared.error)
        assert any(visible(name) in str(prepared.error) for name in unsound(tree))
    else:
        assert checked.said == prepared.said


@rule(few=60, tree=trees())
def test_every_file_of_a_folder_is_accounted_for(tree: Tree) -> None:
    with place() as folder:
        root = write(tree, folder / "images")
        opened = ended(open_image_folder, str(root))
        assume(opened.error is None)
        account = opened.value.account
        assert account.found == account.taken + account.left
        assert account.taken == len(opened.value.train.names) + len(
            opened.value.val.names if opened.value.val else ()
        )
        assert account.found == files_below(root, _followed(root))
        for line in (account.sentence, *account.lines):
            assert line.isprintable()


@rule(few=50, tree=trees())
def test_each_image_stands_in_one_index_under_its_folders_name(tree: Tree) -> None:
    with place() as folder:
        root = write(tree, folder / "images")
        section = data("image_folder", root, layout="in_place")
        prepared = ended(prepare_dataset, section, folder / "datasets")
        assume(prepared.error is None)
        dataset = Path(prepared.value.root)
        classes = (dataset / "classes.txt").read_text(encoding="utf-8").split("\n")[:-1]
        assert list(prepared.value.classes) == classes
        paths: list[str] = []
        for split in SPLITS:
            with (dataset / f"{split}.csv").open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            assert len(rows) == prepared.value.counts[split]
            for row in rows:
                assert classes[int(row["label"])] == row["path"].split("/")[-2]
                assert (root / row["path"]).stat().st_size == int(row["bytes"])
            paths += [row["path"] for row in rows]
        assert len(set(paths)) == len(paths) == open_image_folder(str(root)).account.taken


@rule(few=40, tree=trees())
def test_nothing_stays_of_a_dataset_that_is_refused(tree: Tree) -> None:
    with place() as folder:
        section = data("image_folder", write(tree, folder / "images"))
        prepared = ended(prepare_dataset, section, folder / "datasets")
        assume(prepared.error is not None)
        assert not list((folder / "datasets").glob("*"))
        assert not list((folder / "datasets").glob(".*"))


@rule(few=30, tree=trees())
def test_a_dataset_has_one_fingerprint_however_it_is_prepared(tree: Tree) -> None:
    with place() as folder:
        root = write(tree, folder / "images")
        section = data("image_folder", root)
        first = ended(prepare_dataset, section, folder / "datasets")
        assume(first.error is None)
        again = prepare_dataset(section, folder / "datasets")
        in_place = prepare_dataset(
            data("image_folder", root, layout="in_place"), folder / "datasets"
        )
        elsewhere = prepare_dataset(section, folder / "others")
    assert again.reused
    assert not first.value.reused
    for other in (again, in_place, elsewhere):
        assert other.fingerprint == first.value.fingerprint
        assert other.val_fingerprint == first.value.val_fingerprint
        assert other.counts == first.value.counts


def _followed(root: Path) -> frozenset[str]:
    """The splits and classes that are links: their images take part."""
    source = open_image_folder(str(root))
    splits = [place.removesuffix("/") for place in source.places.values()]
    classes = [
        f"{split}/{entry.name}"
        for split in splits
        for entry in os.scandir(root / split)
        if entry.name in source.classes
    ]
    return frozenset([*splits, *classes])
