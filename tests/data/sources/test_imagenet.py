"""ImageNet used where it stands: labels come from the catalog, whatever folders are there."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.imagenet.listing import (
    SPLITS,
    Listed,
    Split,
    read_listing,
    write_listing,
)
from mixnet_core.data.index import read_index, read_rows
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.data.sources.imagenet import open_imagenet
from mixnet_core.errors import DatasetError
from tests.data.samples import data, write_image, write_image_folder

SOME = [wnids()[label] for label in (3, 500, 999)]


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """Three classes of six training and two val images."""
    return write_image_folder(tmp_path / "images", dict.fromkeys(SOME, 6), dict.fromkeys(SOME, 2))


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image, and so many links to it as 1,000 classes need."""
    root = tmp_path_factory.mktemp("complete")
    image = write_image(root / "image.png", "image")
    for split, count in (("train", 2), ("val", 1)):
        for wnid in wnids():
            (root / split / wnid).mkdir(parents=True)
            for number in range(count):
                (root / split / wnid / f"{number}.png").hardlink_to(image)
    return root


def test_labels_do_not_shift_where_classes_are_missing(some: Path) -> None:
    source = open_imagenet(str(some), subset=True)
    assert source.classes == wnids()
    assert source.train.labels.tolist() == [3] * 6 + [500] * 6 + [999] * 6
    shutil.rmtree(some / "train" / SOME[0])
    shutil.rmtree(some / "val" / SOME[1])
    source = open_imagenet(str(some), subset=True)
    assert source.train.labels.tolist() == [500] * 6 + [999] * 6
    assert source.val is not None
    assert source.val.labels.tolist() == [3] * 2 + [999] * 2


def test_a_missing_class_is_refused_by_name(complete: Path, tmp_path: Path) -> None:
    assert len(open_imagenet(str(complete)).train.labels) == 2000
    moved = complete / "val" / SOME[1]
    moved.rename(tmp_path / "moved")
    try:
        with pytest.raises(DatasetError, match=rf"val lacks images of 1 of .* \({SOME[1]}\)"):
            open_imagenet(str(complete))
    finally:
        (tmp_path / "moved").rename(moved)


def test_of_many_missing_classes_the_first_are_named(some: Path) -> None:
    expected = (
        rf"train lacks images of 997 of .*\({wnids()[0]}, {wnids()[1]}, {wnids()[2]}, \.\.\.\)"
    )
    with pytest.raises(DatasetError, match=expected) as error:
        open_imagenet(str(some))
    assert "data.subset" in str(error.value)


def test_an_empty_folder_is_a_missing_class(complete: Path, some: Path) -> None:
    moved = complete / "train" / SOME[2] / "0.png"
    content = moved.read_bytes()
    for number in range(2):
        (complete / "train" / SOME[2] / f"{number}.png").rename(some / f"{number}.png")
    (complete / "train" / SOME[2] / "notes.txt").write_text("no image")
    (complete / "train" / SOME[2] / ".0.png").write_bytes(content)
    try:
        with pytest.raises(DatasetError, match=rf"lacks images of 1 of .* \({SOME[2]}\)"):
            open_imagenet(str(complete))
        assert len(open_imagenet(str(complete), subset=True).train.labels) == 1998
    finally:
        for number in range(2):
            (some / f"{number}.png").rename(complete / "train" / SOME[2] / f"{number}.png")
        (complete / "train" / SOME[2] / ".0.png").unlink()
    assert moved.read_bytes() == content


@pytest.mark.parametrize("subset", [False, True])
def test_a_folder_that_is_no_class_is_refused(some: Path, subset: bool) -> None:
    write_image(some / "val" / "n99999999" / "a.png", "a")
    (some / "train" / "n99999999").mkdir()
    with pytest.raises(DatasetError, match=r"no classes of .* 1,000, the first is 'n99999999'"):
        open_imagenet(str(some), subset=subset)


def test_a_flat_val_takes_its_labels_from_a_file(some: Path, tmp_path: Path) -> None:
    shutil.rmtree(some / "val")
    for number in range(3):
        write_image(some / "val" / f"ILSVRC2012_val_{number + 1:08d}.png", f"v{number}")
    with pytest.raises(DatasetError, match=r"no class folders: name the file .*data\.val_labels"):
        open_imagenet(str(some), subset=True)
    labels = tmp_path / "labels.txt"
    labels.write_text(f"{SOME[2]}\n{SOME[0]}\n{SOME[2]}\n")
    source = open_imagenet(str(some), val_labels=str(labels), subset=True)
    assert source.val is not None
    assert source.val.labels.tolist() == [999, 3, 999]
    first = source.identity
    labels.write_text(f"{SOME[2]}\n{SOME[2]}\n{SOME[0]}\n")
    assert open_imagenet(str(some), val_labels=str(labels), subset=True).identity != first
    labels.write_text(f"{SOME[2]}\n{SOME[0]}\n")
    with pytest.raises(DatasetError, match="has 2 labels, there are 3 val images"):
        open_imagenet(str(some), val_labels=str(labels), subset=True)


@pytest.mark.parametrize("layout", ["links", "in_place"])
def test_a_subset_is_split_with_1000_classes(some: Path, tmp_path: Path, layout: str) -> None:
    settings = data("imagenet", some, subset=True, layout=layout, train_limit=12)
    dataset = prepare_dataset(settings, tmp_path / "datasets")
    assert len(dataset.classes) == 1000
    assert dataset.counts == {"train": 9, "select": 3, "val": 6}
    for split in ("train", "select", "val"):
        labels = read_index(Path(dataset.root), split).labels
        assert set(labels.tolist()) == {3, 500, 999}


def test_a_subset_without_a_val_has_one_cut(some: Path, tmp_path: Path) -> None:
    shutil.rmtree(some / "val")
    dataset = prepare_dataset(data("imagenet", some, subset=True), tmp_path / "datasets")
    assert dataset.counts == {"train": 9, "select": 3, "val": 6}


def test_labels_that_nothing_needs_are_refused(some: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("")
    with pytest.raises(DatasetError, match=r"val_labels is .*labels\.txt, but .* set it to null"):
        open_imagenet(str(some), val_labels=str(labels), subset=True)


@pytest.fixture
def listed(some: Path) -> Path:
    """As unpacking leaves it: images of the right names, and a listing."""
    rows: dict[Split, list[Listed]] = {}
    for split in SPLITS:
        rows[split] = []
        for path in sorted((some / split).glob("*/*")):
            content = path.read_bytes()
            name, digest = path.relative_to(some).as_posix(), hashlib.sha256(content).hexdigest()
            rows[split].append(Listed(name, path.parts[-2], len(content), digest, 6, 6, "png"))
    write_listing(some, rows, {"subset": True})
    return some


@pytest.mark.parametrize("layout", ["links", "in_place"])
def test_a_listing_is_taken_for_what_the_images_are(
    listed: Path, tmp_path: Path, layout: str
) -> None:
    with pytest.raises(DatasetError, match=r"lacks images of 997 of"):
        open_imagenet(str(listed))
    settings = data("imagenet", listed, subset=True, layout=layout)
    # Its content is another one: that nobody read it again shows in the digests.
    image = listed / "train" / SOME[0] / "003.png"
    image.write_bytes(bytes(image.stat().st_size))
    dataset = prepare_dataset(settings, tmp_path / "datasets")
    assert dataset.counts == {"train": 15, "select": 3, "val": 6}
    found = [row for split in ("train", "select") for row in read_rows(Path(dataset.root), split)]
    assert {row.label for row in found} == {3, 500, 999}
    known = {row.sha256: row for row in read_listing(listed, "train")}
    assert {row.sha256 for row in found} == known.keys()
    assert all(known[row.sha256].bytes == row.bytes for row in found)
    assert prepare_dataset(settings, tmp_path / "datasets").reused


@pytest.mark.parametrize("layout", ["links", "in_place"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, r"003\.png is listed, but cannot be read \(No such file"),
        (lambda path: path.write_bytes(b"cut"), r"003\.png has 3 bytes, its listing says \d+"),
    ],
)
def test_a_listed_image_that_is_missing_or_cut_is_named(
    listed: Path, tmp_path: Path, layout: str, damage: Callable[[Path], None], message: str
) -> None:
    damage(listed / "train" / SOME[0] / "003.png")
    settings = data("imagenet", listed, subset=True, layout=layout)
    with pytest.raises(DatasetError, match=message) as error:
        prepare_dataset(settings, tmp_path / "datasets")
    assert "put it back, or delete the folder" in str(error.value)
    assert list((tmp_path / "datasets").iterdir()) == []


def test_a_listed_image_is_compared_where_it_is_copied(listed: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == listed.stat().st_dev:
        pytest.skip("there is no second file system")
    image = listed / "train" / SOME[0] / "003.png"
    image.write_bytes(bytes(image.stat().st_size))
    with (
        tempfile.TemporaryDirectory(dir=elsewhere) as folder,
        pytest.raises(DatasetError, match=r"003\.png has another content than its listing says"),
    ):
        prepare_dataset(data("imagenet", listed, subset=True), Path(folder))
