"""Images named by CSV lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mixnet_core.data.index import open_prepared, read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.data.sources.lists import open_lists
from mixnet_core.errors import DatasetError, IntegrityError
from tests.data.samples import data, write_image


def write_lists(root: Path, train: str, val: str | None = None, classes: str | None = None) -> str:
    for name, text in (("train.csv", train), ("val.csv", val), ("classes.txt", classes)):
        if text is not None:
            root.mkdir(exist_ok=True)
            (root / name).write_text(text)
    return str(root)


def write_images(root: Path, *paths: str) -> None:
    for path in paths:
        write_image(root / path, path)


def test_names_become_labels_in_sorted_order_of_both_lists(tmp_path: Path) -> None:
    write_images(tmp_path, "x/1.png", "y/1.png", "2.jpg", "v.png")
    train = "class,path\nbee,x/1.png\nant,y/1.png\nbee,2.jpg\n"
    source = open_lists(write_lists(tmp_path, train, "path,class\nv.png,cow\n"), subset=True)
    assert source.classes == ("ant", "bee", "cow")
    assert source.train.labels.tolist() == [0, 1, 1]
    assert source.train.files is not None
    assert source.train.files.paths == ("y/1.png", "2.jpg", "x/1.png")
    assert source.val is not None
    assert source.val.labels.tolist() == [2]


def test_numbers_are_labels_and_gaps_stay_gaps(tmp_path: Path) -> None:
    write_images(tmp_path, "a.png", "b.png")
    root = write_lists(tmp_path, "path,label\na.png,11\nb.png,3\n")
    with pytest.raises(DatasetError, match=r"no image of 10 of 12 classes \(label 0, 1, 2, \.\.\."):
        open_lists(root)
    source = open_lists(root, subset=True)
    assert source.classes[3] == "03"
    assert len(source.classes) == 12
    assert source.train.labels.tolist() == [3, 11]


def test_classes_txt_gives_order_and_what_is_known(tmp_path: Path) -> None:
    write_images(tmp_path, "a.png")
    root = write_lists(tmp_path, "path,class\na.png,ant\n", classes="bee\nant\n")
    with pytest.raises(DatasetError, match=r"no image of 1 of 2 classes \(class bee\)"):
        open_lists(root)
    source = open_lists(root, subset=True)
    assert source.classes == ("bee", "ant")
    assert source.train.labels.tolist() == [1]
    write_lists(tmp_path, "path,label\na.png,1\n", classes="bee\r\nant")
    source = open_lists(root, subset=True)
    assert (source.classes, source.train.labels.tolist()) == (("bee", "ant"), [1])
    write_lists(tmp_path, "path,class\na.png,cow\n")
    with pytest.raises(DatasetError, match=r"gives a\.png 'cow': expected one of 2, bee ant"):
        open_lists(root)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("file,label\na.png,1\n", "has the columns file, label: expected a header with path"),
        ("path\na.png\n", "expected a header with path and label, or path and class"),
        ("path,label\n", "lists no images"),
        ("path,label\n/etc/a.png,1\n", "line 2: path '/etc/a.png' is not inside the folder"),
        ("path,label\nx/../../a.png,1\n", "is not inside the folder"),
        ("path,label\na.png,\n", "line 2: a.png has no label"),
        ("path,label\na.png,one\n", "gives a.png 'one'"),
        ("path,label\na.png,-1\n", "gives a.png '-1'"),
        ("path,label\na.png,0\na.png,1\n", "line 3: a.png is there twice"),
        ("path,label\na.png,0\n./x//../a.png,1\n", "line 3: path .* is not inside the folder"),
        ("path,label\na.png,0\n.//a.png,1\n", "line 3: a.png is there twice"),
        ("path,label\nx,0\n", "x, listed in train.csv, is no file"),
        ("path,label\na,b.png,0\n", "line 2: more values than columns"),
        ("path,label\na.png,9999999999\n", "label 9999999999, expected at most 999,999"),
        ('path,label\n"a.png,0\n', "is no CSV file in UTF-8"),
        ("path,class\na.png,..\n", "class '..', which cannot be a folder's name"),
        ("path,class\na.png,x/y\n", "class 'x/y', which cannot be a folder's name"),
        ("path,label\nlost.png,0\n", "lost.png, listed in train.csv, cannot be read"),
    ],
)
def test_a_malformed_list_is_one_line_that_names_the_fault(
    tmp_path: Path, train: str, message: str
) -> None:
    write_images(tmp_path, "a.png", "x/b.png")
    with pytest.raises(DatasetError, match=message) as error:
        open_lists(write_lists(tmp_path, train))
    assert "\n" not in str(error.value)


def test_an_image_of_both_lists_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path, "a.png")
    root = write_lists(tmp_path, "path,label\na.png,0\n", "path,label\na.png,0\n")
    with pytest.raises(DatasetError, match=r"a\.png is in train\.csv and val\.csv"):
        open_lists(root)


def test_a_folder_without_lists_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no train\.csv"):
        open_lists(str(tmp_path))


@pytest.fixture
def listed(tmp_path: Path) -> str:
    """Twenty images of two classes, all of one file name, in folders of their own."""
    paths = [f"{number}/image.png" for number in range(20)]
    root = tmp_path / "images"
    write_images(root, *paths)
    rows = "".join(f"{path},{'ab'[number % 2]}\n" for number, path in enumerate(paths))
    return write_lists(root, "path,class\n" + rows)


def test_in_place_nothing_is_written_but_the_indexes(listed: str, tmp_path: Path) -> None:
    settings = data("lists", Path(listed), layout="in_place")
    dataset = prepare_dataset(settings, tmp_path / "datasets")
    root = Path(dataset.root)
    assert sorted(path.name for path in root.iterdir()) == [
        "classes.txt", "manifest.json", "select.csv", "train.csv", "val.csv",
    ]  # fmt: skip
    seen = []
    for split in ("train", "select", "val"):
        index = read_index(root, split)
        assert index.root == Path(listed)
        for path, label in zip(index.paths, index.labels, strict=True):
            assert int(Path(path).parts[0]) % 2 == label
            seen.append(path)
        assert index.sizes is not None
        sizes = [(index.root / path).stat().st_size for path in index.paths]
        np.testing.assert_array_equal(index.sizes, sizes)
    assert len(set(seen)) == 20
    linked = prepare_dataset(data("lists", Path(listed)), tmp_path / "datasets")
    assert linked.fingerprint == dataset.fingerprint
    assert linked.root != dataset.root


def test_an_image_that_changed_in_its_place_is_noticed(listed: str, tmp_path: Path) -> None:
    settings = data("lists", Path(listed), layout="in_place")
    root = Path(prepare_dataset(settings, tmp_path / "datasets").root)
    (Path(listed) / "7/image.png").write_bytes(b"other")
    with pytest.raises(IntegrityError, match=r"another size .* 7/image\.png with 5 bytes"):
        open_prepared(root)
    (Path(listed) / "7/image.png").unlink()
    with pytest.raises(IntegrityError, match=r"missing .* 7/image\.png: put them back"):
        open_prepared(root)
