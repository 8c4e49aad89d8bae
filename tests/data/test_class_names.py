from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from mixnet_core.data.class_names import (
    ambiguous_order,
    expect_distinct,
    labels_by_name,
    near,
    read_classes,
)
from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.errors import DatasetError


def test_a_label_is_the_names_place_among_the_weights_classes_whatever_the_order() -> None:
    assert labels_by_name(["b", "c"], ("c", "a", "b"), "d") == {"b": 2, "c": 0}


def test_other_names_are_refused_and_said() -> None:
    with pytest.raises(DatasetError, match=r"d has 2 of 3 classes .*\(eight, nine\).*among 8, 9"):
        labels_by_name(["8", "eight", "nine"], ("8", "9"), "d")


@pytest.mark.parametrize("name", ["Cat", "cat ", "CAT"])
def test_a_name_that_is_meant_is_named_but_not_taken(name: str) -> None:
    with pytest.raises(DatasetError, match=r"may be 'cat': rename"):
        labels_by_name([name, "dog"], ("cat", "dog"), "d")
    assert near("wolf spider", ["wolf_spider"]) == "wolf_spider"


def test_the_same_letters_in_another_unicode_form_are_the_same_class() -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert composed != apart
    assert labels_by_name([apart], ("ant", composed), "d") == {apart: 1}
    with pytest.raises(DatasetError, match=r"look alike.*cafe\\u0301"):
        labels_by_name([apart, composed], ("ant", composed), "d")


@pytest.mark.parametrize("twin", ["bird ", " bird", "bird\u00a0", "bi\u0308rd"])
def test_names_that_only_look_different_are_refused(twin: str) -> None:
    other = unicodedata.normalize("NFC", twin) if "\u0308" in twin else "bird"
    with pytest.raises(DatasetError, match=r"d has classes that look alike"):
        expect_distinct([other, "cat", twin], "d")


def test_classes_that_differ_in_case_or_a_letter_are_two() -> None:
    expect_distinct(["a", "A", "b"], "d")


@pytest.mark.parametrize("width", [0, 4])
def test_imagenets_classes_are_known_by_their_numbers(width: int) -> None:
    names = [f"{number:0{width}d}" for number in range(1000)]
    labels = labels_by_name(sorted(names), wnids(), "v2")
    assert [labels[name] for name in names] == list(range(1000))


@pytest.mark.parametrize(
    "names", [["1", "01"], ["10", "999"], ["1000"], ["1", "tench"], ["-1"], ["\u0661"]]
)
def test_numbers_that_are_no_labels_of_imagenet_are_refused(names: list[str]) -> None:
    with pytest.raises(DatasetError, match="not trained for"):
        labels_by_name(names, wnids(), "v2")


def test_numbers_mean_nothing_to_other_weights() -> None:
    with pytest.raises(DatasetError, match="not trained for"):
        labels_by_name(["0", "1"], ("ant", "bee"), "d")


def test_numbers_that_sort_otherwise_as_text_are_told() -> None:
    assert ambiguous_order(["0", "1", "10", "2"])
    assert not ambiguous_order(["00", "01", "10"])
    assert not ambiguous_order(["0", "1", "2"])
    assert not ambiguous_order(["1a", "10a"])


def test_a_file_of_classes_is_read_in_its_order(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_bytes("\ufeffzebra\r\nant\r\n".encode())
    assert read_classes(file) == ("zebra", "ant")
    for content in (b"a\n\nb\n", b"a\na\n", b"", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(DatasetError, match="one class per line"):
            read_classes(file)
