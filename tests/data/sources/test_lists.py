"""Images named by CSV lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mixnet_core.data.index import open_prepared, read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.data.source import Claim, Source
from mixnet_core.data.sources.lists import SOURCE, open_lists
from mixnet_core.errors import DatasetError, IntegrityError
from mixnet_core.recipe.sections import Data
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
        ("photo,label\na.png,1\n", "has the columns photo, label, none .* expected a header with"),
        ("path\na.png\n", "expected a header with path and label, or path and class"),
        ("path,label\n", "lists no images"),
        ("path,label\n/etc/a.png,1\n", "line 2: path '/etc/a.png' is not inside the folder"),
        ("path,label\nx/../../a.png,1\n", "is not inside the folder"),
        ("path,label\na.png,\n", "line 2: a.png has no label"),
        ("path,label\na.png,one\nx/b.png,1\n", "line 2: label 'one' of a.png is no whole"),
        ("path,label\na.png,-1\n", "line 2: label '-1' of a.png is no whole number from 0"),
        ("path,label\na.png,0\na.png,1\n", "line 3: a.png is there twice"),
        ("path,label\na.png,0\n./x//../a.png,1\n", "line 3: path .* is not inside the folder"),
        ("path,label\na.png,0\n.//a.png,1\n", "line 3: a.png is there twice"),
        ("path,label\nx,0\n", "x, listed in train.csv, is no file"),
        ("path,label\na,b.png,0\n", "line 2: more values than columns"),
        ("path,label\na.png,9999999999\n", "label 9999999999, expected at most 999,999"),
        ('path,label\n"a.png,0\n', r"line 2: no CSV \(unexpected end of data\)"),
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


def test_an_image_of_both_lists_is_found_out_by_its_file(tmp_path: Path) -> None:
    write_images(tmp_path, "images/1.png", "images/2.png")
    root = write_lists(tmp_path, "id,label\n1,0\n2,1\n", "path,label\nimages/2.png,1\n")
    message = r"images/2\.png is in train\.csv and val\.csv of .* \(lines 3 and 2\)"
    with pytest.raises(DatasetError, match=message):
        open_lists(root)


def test_an_absolute_path_may_begin_as_the_folder_was_named(tmp_path: Path) -> None:
    write_images(tmp_path / "real", "a.png", "b.png")
    (tmp_path / "link").symlink_to("real")
    rows = f"path,class\n{tmp_path}/link/a.png,ant\n{tmp_path}/real/b.png,bee\n"
    write_lists(tmp_path / "real", rows)
    source = open_lists(str(tmp_path / "link"))
    assert source.train.files is not None
    assert source.train.files.paths == ("a.png", "b.png")
    write_lists(tmp_path / "real", "path,class\na.png,ant\nb.png,bee\n")
    assert open_lists(str(tmp_path / "real")).identity == source.identity


def test_rows_of_an_image_that_say_the_same_are_taken_once_and_counted(tmp_path: Path) -> None:
    write_images(tmp_path, "a.png", "b.png")
    rows = "path,class\na.png,ant\nb.png,bee\n./a.png,ant\na.png, ant\n"
    source = open_lists(write_lists(tmp_path, rows))
    assert source.train.labels.tolist() == [0, 1]
    assert any("train.csv has 4 rows, 2 of them again" in note for note in source.account.notes)
    rows = rows.replace("a.png, ant", "a.png,bee")
    message = r"line 5: a\.png is there twice, of class 'bee' and in line 2 of class 'ant'"
    with pytest.raises(DatasetError, match=message):
        open_lists(write_lists(tmp_path, rows))


def test_kaggles_folders_are_understood(tmp_path: Path) -> None:
    write_images(tmp_path, "train/a1.png", "train/b2.png", "test/c3.png")
    root = write_lists(tmp_path, "\ufeffid;breed\r\na1;pug\r\nb2;tabby\r\n")
    (tmp_path / "test.csv").write_text("id\nc3\n")
    assert SOURCE.claim(tmp_path, expected=False) is Claim.SHOWN
    source = open_lists(root)
    assert source.classes == ("pug", "tabby")
    assert source.train.files is not None
    assert source.train.files.paths == ("train/a1.png", "train/b2.png")
    assert source.val is None
    assert "test.csv is not used: it does not say what is on its images" in source.account.notes
    assert source.account.sentence == ("5 files found, 2 taken, 3 left out: 2 lists, 1 in no list")


def test_every_file_below_is_accounted_for(tmp_path: Path) -> None:
    write_images(tmp_path, "a.png", "x/b.png", "x/c.png")
    (tmp_path / ".DS_Store").touch()
    root = write_lists(
        tmp_path, "path,class\na.png,ant\n", "path,class\nx/b.png,bee\n", "ant\nbee\n"
    )
    account = open_lists(root, subset=True).account
    assert account.taken == 2
    assert {reason: item.names for reason, item in account.left_out.items()} == {
        "lists": ("classes.txt", "train.csv", "val.csv"),
        "hidden": (".DS_Store",),
        "in no list": ("x/c.png",),
    }
    assert account.found == sum(path.is_file() for path in tmp_path.rglob("*"))


def test_files_in_no_list_are_counted_up_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, "a.png", "b.png", "x/c.png")
    root = write_lists(tmp_path, "path,class\na.png,ant\n")
    monkeypatch.setattr("mixnet_core.data.lists.accounting._MOST_OTHERS", 2)
    account = open_lists(root).account
    assert account.found == 0
    assert "more than 2 files are in no list: they are not counted" in account.notes


@pytest.mark.parametrize("name", ["valid", "Validation", "test"])
def test_a_list_of_another_name_is_val(tmp_path: Path, name: str) -> None:
    write_images(tmp_path, "a.png", "b.png", "c.png")
    root = write_lists(tmp_path, "path,class\na.png,ant\nb.png,bee\n")
    (tmp_path / f"{name}.csv").write_text("path,class\nc.png,bee\n")
    source = open_lists(root)
    assert source.val is not None
    assert source.val.labels.tolist() == [1]
    assert source.places == {"train": "train.csv", "val": f"{name}.csv"}
    assert f"{name}.csv is taken for val" in source.account.notes


def val_alone(root: Path, classes: tuple[str, ...] | None = None) -> Source | None:
    return SOURCE.open_val(data("lists", root), classes)


def test_the_images_to_measure_need_their_list_alone(tmp_path: Path) -> None:
    write_images(tmp_path, "a.png", "b.png")
    write_lists(tmp_path, "", "path,class\na.png,ant\nb.png,cow\n")
    (tmp_path / "train.csv").unlink()
    own = val_alone(tmp_path)
    assert own is not None
    assert own.val is not None
    assert own.classes == ("ant", "cow")
    assert own.places == {"val": "val.csv"}
    found = val_alone(tmp_path, ("bee", "cow", "ant"))
    assert found is not None
    assert found.val is not None
    assert found.classes == ("bee", "cow", "ant")
    assert found.val.labels.tolist() == [1, 2]
    assert found.val.files is not None
    assert found.val.files.paths == ("b.png", "a.png")
    with pytest.raises(DatasetError, match=r"1 of 2 classes that these weights were not trained"):
        val_alone(tmp_path, ("ant", "bee"))


def test_no_training_image_is_asked_for_to_measure(tmp_path: Path) -> None:
    write_images(tmp_path, "a.png")
    write_lists(tmp_path, "path,class\nlost.png,ant\ngone.png,bee\n", "path,class\na.png,bee\n")
    found = val_alone(tmp_path)
    assert found is not None
    assert found.classes == ("ant", "bee")
    assert found.train.labels.tolist() == [1]


def test_numbers_to_measure_take_their_names_from_where_they_stand(tmp_path: Path) -> None:
    write_images(tmp_path, "a.png", "b.png")
    write_lists(tmp_path, "path,label,class\nx,0,ant\ny,1,bee\n", "path,label\na.png,0\nb.png,1\n")
    for given in (None, "ant\nbee\n"):
        if given:
            (tmp_path / "train.csv").unlink()
            (tmp_path / "classes.txt").write_text(given)
        found = val_alone(tmp_path, ("bee", "ant"))
        assert found is not None
        assert found.val is not None
        assert found.val.files is not None
        assert (found.val.labels.tolist(), found.val.files.paths) == ([0, 1], ("b.png", "a.png"))


def test_without_a_list_for_val_there_is_nothing_to_measure(tmp_path: Path) -> None:
    write_lists(tmp_path, "path,class\na.png,ant\n")
    assert val_alone(tmp_path) is None
    (tmp_path / "train.csv").unlink()
    with pytest.raises(DatasetError, match=r"has no val\.csv and no train\.csv"):
        val_alone(tmp_path)


def test_a_list_speaks_for_itself_unless_class_folders_do(tmp_path: Path) -> None:
    assert SOURCE.claim(tmp_path, expected=False) is Claim.NO
    (tmp_path / "test.csv").write_text("id\n1\n")
    assert SOURCE.claim(tmp_path, expected=False) is Claim.NO
    (tmp_path / "valid.csv").write_text("id,label\n1,0\n")
    assert SOURCE.claim(tmp_path, expected=False) is Claim.SHOWN
    write_images(tmp_path, "train/1.png")
    assert SOURCE.claim(tmp_path, expected=False) is Claim.SHOWN
    write_images(tmp_path, "train/ant/1.png")
    assert SOURCE.claim(tmp_path, expected=False) is Claim.NO
    assert SOURCE.claim(tmp_path, expected=True) is Claim.EXPECTED


def test_the_classes_are_known_before_the_images_are_there(tmp_path: Path) -> None:
    write_lists(tmp_path, "path,class\na.png,bee\nb.png,ant\n", "path,class\nc.png,ant\n")
    assert SOURCE.classes(data("lists", tmp_path)) == ("ant", "bee")


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
        "classes.txt", "duplicates.csv", "manifest.json", "select.csv", "train.csv", "val.csv",
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


def numbered_from_one(tmp_path: Path, place: str) -> Data:
    """Training's and val's images have the same names; val's are in a folder of that name."""
    for split, count in (("train", 6), ("val", 2)):
        rows = []
        for number in range(count):
            where = "train" if split == "train" else place
            write_image(tmp_path / where / f"{number}.png", f"{split} {number}")
            rows.append(f"{number}.png,{'ab'[number % 2]}\n")
        (tmp_path / f"{split}.csv").write_text("path,class\n" + "".join(rows))
    return data("lists", tmp_path)


def test_training_images_that_are_named_as_vals_are_not_measured(tmp_path: Path) -> None:
    found = SOURCE.open_val(numbered_from_one(tmp_path / "own", "val"), None)
    assert found is not None
    assert len(found.train.names) == 2
    settings = numbered_from_one(tmp_path / "else", "val_imgs")
    with pytest.raises(DatasetError, match=r"0\.png is in train\.csv and val\.csv .*in train/"):
        SOURCE.open_val(settings, None)
    (tmp_path / "else" / "train.csv").unlink()
    with pytest.raises(DatasetError, match="found in train/ only, which is for training"):
        SOURCE.open_val(settings, None)
