"""Which column of a list is which."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mixnet_core.data.lists.header import _CLASS, _LABEL, _PATH, Header, header_of
from mixnet_core.errors import DatasetError


def header(text: str) -> Header:
    return header_of(text.encode(), "utf-8-sig", "train.csv")


@pytest.mark.parametrize(
    "name",
    [
        *("path", "Path", "image_path", "filepath", "FILE_NAME", "file-name", "file name", "file"),
        *("ImageId", "image_id", "Image", "img", "image_name", "id", "ID", "id_code", "filename"),
    ],
)
def test_the_image_is_named_by_a_column_of_a_known_name(name: str) -> None:
    found = header(f"extra,{name},label\n")
    assert found.names[found.path] == name


@pytest.mark.parametrize(
    ("name", "is_class"),
    [
        *[(name, False) for name in ("label", "Label_ID", "labels", "class_id", "target", "y")],
        *[(name, True) for name in ("class", "Class Name", "category", "breed", "species")],
        *[(name, True) for name in ("label_name", "wnid", "synset")],
    ],
)
def test_what_is_on_it_by_another(name: str, is_class: bool) -> None:
    found = header(f"path,{name},other\n")
    assert (found.labels, found.classes) == (([], [1]) if is_class else ([1], []))


def test_the_page_for_users_has_the_names_in_their_order() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/images.md").read_text()
    for start, known in (("the image", _PATH), ("its label", _LABEL), ("its class", _CLASS)):
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {start}")]
        names = re.findall("`([a-z_]+)`", row)
        assert [name.replace("_", "") for name in names] == list(known)


def test_of_several_columns_that_name_images_the_likeliest_is_taken() -> None:
    found = header("image_id,path,id,label\n")
    assert found.names[found.path] == "path"
    assert [found.names[at] for at in found.other_paths] == ["image_id", "id"]


def test_the_header_says_what_separates_values() -> None:
    assert header("path;label;a,b,c,d\n").delimiter == ";"
    assert header("path,label,a;b;c;d\n").delimiter == ","
    assert header("path\tlabel\ta,b;c\n").delimiter == "\t"
    assert header("path\n").delimiter == ","


def test_beside_x_the_column_y_is_a_coordinate() -> None:
    assert header("path,x,y,label\n").labels == [3]
    assert header("path,y\n").labels == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("photo,label\n", "has the columns photo, label, none of them an image's: expected a head"),
        ("photo|label\n", r"has the columns photo\|label, none"),
        ("path,label,label\n", "has two columns 'label': remove or rename one"),
        (
            "img/1.jpg,cat\n",
            "has no header, it begins with the image img/1.jpg, cat: put a line pa",
        ),
        ("cat;img/1.PNG\n", "has no header"),
        (",".join(f"c{i}" for i in range(5000)), "c10, c11 and 4,988 more, none of them"),
    ],
)
def test_a_header_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        header(text)


def test_a_secret_in_a_header_is_not_quoted() -> None:
    with pytest.raises(DatasetError) as error:
        header("https://me:hunter2secret@host/x,b\n")
    assert "hunter2secret" not in str(error.value)


def test_a_header_of_any_letters_is_one_line() -> None:
    with pytest.raises(DatasetError) as error:
        header('"a\nb\u2028c\x1b","' + "x" * 5000 + '"\n')
    assert str(error.value).isprintable()
    assert "a\\nb\\u2028c\\x1b, xxx" in str(error.value)
    assert len(str(error.value)) < 400
