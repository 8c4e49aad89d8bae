"""Lists as programs write them: from bytes to rows."""

from __future__ import annotations

import codecs

import pytest

from mixnet_core.data.lists.rows import expect_labelled, list_of
from mixnet_core.errors import DatasetError

PLAIN = "path,label\na b.png,cat\nb.png,größe\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        codecs.BOM_UTF8 + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
        PLAIN.replace(",", "\t").encode("utf-16"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.rstrip().encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        b"sep=;\r\n" + PLAIN.replace(",", ";").encode(),
        b"sep=,\n" + PLAIN.encode(),
        "\n\npath,label\n\na b.png,cat\n,\nb.png,größe\n\n , \n".encode(),
        "path,label,\na b.png,cat,\nb.png,größe\n".encode(),
        "path,label\na b.png,cat,,\nb.png,größe,\n".encode(),
        ' path , label\n a b.png , cat \n b.png, "größe"\n'.encode(),
        '"path";"label"\n"a b.png";"cat"\n"b.png";"größe"\n'.encode(),
        "0,label,x,1,path\n,cat,7,,a b.png\n,größe,8,,b.png\n".encode(),
        "path,label,class\na b.png,cat,\nb.png,größe,\n".encode(),
    ],
)
def test_a_list_says_the_same_whatever_wrote_it(content: bytes) -> None:
    found = expect_labelled(list_of(content, "train.csv"))
    assert found.paths == ["a b.png", "b.png"]
    (column,) = found.columns
    assert (column.name, column.named) == ("label", False)
    assert column.values == ["cat", "größe"]


def test_quotes_hold_what_separates_values_and_lines() -> None:
    found = list_of(b'path,class\n"a,1.png","the ""big"" one"\n"b\n.png",x;y\n', "train.csv")
    assert found.paths == ["a,1.png", "b\n.png"]
    assert found.columns[0].values == ['the "big" one', "x;y"]
    assert found.line(1) == "train.csv, line 4"


def test_a_column_remembers_how_its_values_are_written() -> None:
    (column,) = list_of(b'path,class\na,bird\nb,"bird "\nc,bird\n', "train.csv").columns
    assert column.values == ["bird", "bird", "bird"]
    assert column.spellings == ["bird", "bird "]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "train.csv is empty: expected a header with path and label"),
        (b"\n \n", "is empty"),
        (codecs.BOM_UTF8, "is empty"),
        (PLAIN.encode("latin-1"), r"line 3: byte 0xf6 is not UTF-8, perhaps it is in Latin-1"),
        ("path,größe\r\n".encode("cp1252"), "line 1: byte 0xf6 is not UTF-8"),
        (PLAIN.encode("utf-16-le"), "zero bytes, as binary files and UTF-16 without its mark do"),
        (PLAIN.encode("utf-16")[:-1], "begins as UTF-16 and is not"),
        (b"PK\3\4rest", "is an Excel or zip file: expected text"),
        (b"path,label\n", "lists no images"),
        (b"path,label\na,b.png,0\n", "line 2: more values than columns: put what has a comma"),
        (b"path;label\na;b.png;0\n", "line 2: more values than columns: .* the semicolons"),
        (b'path,label\na.png,0\n"b.png,0\n', r"line 3: no CSV \(unexpected end of data\)"),
        (b'path,label\n"a"b.png,0\n', "line 2: no CSV"),
        (b'"path,label\n', "line 1: no CSV"),
        (b"path,label\n,0\n", "line 2: no path: fill it in or remove the row"),
        (b"path,label\na.png,0\nb.png\n", "line 3: b.png has no label: fill it in"),
        (b"path,label,class\na.png,0,cat\nb.png,1,\n", "line 3: b.png has no class"),
        (b"path\na.png\n", "has the columns path, none of them with labels or classes"),
        (b"path,x,y\na.png,3,4\n", "has the columns path, x, y, none of them with labels"),
        (b"path,label,split\na,0,train\nb,0,test\n", r"several splits \(split test, train\)"),
        (b"path,label,is_valid\na,0,True\nb,0,False\n", r"several splits \(is_valid False, True"),
    ],
)
def test_a_malformed_list_is_refused_in_a_line(content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as error:
        expect_labelled(list_of(content, "train.csv"))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("train.csv")


def test_rows_of_one_split_are_one_list() -> None:
    assert list_of(b"path,label,split\na,0,train\nb,0,train\n", "x").paths == ["a", "b"]


def test_a_list_may_be_read_that_says_of_no_image_what_is_on_it() -> None:
    assert not list_of(b"id\n1\n2\n", "test.csv").labelled
    assert not list_of(b"id,label\n1,\n2,\n", "test.csv").labelled
    assert list_of(b"id,label\n1,\n2,0\n", "test.csv").labelled


def test_a_byte_that_is_not_utf_8_is_found_far_behind_the_header() -> None:
    content = b"path,label\n" + b"a.png,cat\n" * 50_000 + b"caf\xe9.png,cat\n"
    with pytest.raises(DatasetError, match=r"line 50002: byte 0xe9 is not UTF-8"):
        list_of(content, "train.csv")
