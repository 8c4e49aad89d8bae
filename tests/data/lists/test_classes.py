"""What the values of lists mean."""

from __future__ import annotations

import pytest

from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.lists.classes import Meaning, meaning_for, meaning_of
from mixnet_core.data.lists.rows import expect_labelled, list_of
from mixnet_core.data.lists.values import Values, values_of
from mixnet_core.errors import DatasetError


def values(*rows: str, name: str = "train.csv") -> Values:
    return values_of(expect_labelled(list_of("\n".join([*rows, ""]).encode(), name)))


def meaning(*lists: Values, given: tuple[str, ...] | None = None) -> Meaning:
    return meaning_of(lists, given, "folder")


def test_a_label_column_has_numbers_or_names_by_its_values() -> None:
    numbered = values("id,label", "a,3", "b,0", "c,03", "d,1.0")
    assert (numbered.numbers, numbered.names) == (["3", "0", "3", "1"], None)
    named = values("id,label", "a,cat", "b,dog")
    assert (named.numbers, named.names) == (None, ["cat", "dog"])
    assert meaning(numbered).classes == ("0", "1", "2", "3")
    assert meaning(named).classes == ("cat", "dog")
    assert meaning(named).labels(named) == [0, 1]


@pytest.mark.parametrize("odd", ["cat", "-1", "1.5", "1e3", "nan", "٣"])
def test_numbers_with_something_else_among_them_are_refused(odd: str) -> None:
    message = rf"line 3: label '{odd}' of b is no whole number from 0, as others are"
    with pytest.raises(DatasetError, match=message):
        values("id,label", "a,0", f"b,{odd}")


def test_a_class_column_has_names_whatever_they_look_like() -> None:
    digits = values("id,class", "a,7", "b,A", "c,10")
    assert meaning(digits).classes == ("10", "7", "A")
    assert meaning(values("id,class", "a,7", "b,10")).classes == ("10", "7")
    with pytest.raises(DatasetError, match=r"classes '7' and '07' are one number"):
        meaning(values("id,class", "a,7", "b,07"))


@pytest.mark.parametrize(
    "header", ["id,label,class", "id,class_id,label", "id,class,label_name", "id,target,breed"]
)
def test_numbers_beside_names_tell_their_order(header: str) -> None:
    both = values(header, "a,10,ant", "b,2,cow", "c,10,ant")
    assert meaning(both).classes == ("cow", "ant")
    assert meaning(both).labels(both) == [1, 0, 1]


def test_numbers_under_class_beside_numbers_under_label_are_names() -> None:
    both = values("id,class,label", "a,100,1", "b,200,0")
    assert meaning(both).classes == ("200", "100")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("a,0,cat", "b,1,dog", "c,0,dog"), "line 4: label '0' goes with class 'dog', but '0' wit"),
        (("a,0,cat", "b,1,cat"), "line 3: label '1' goes with class 'cat', but '0' with 'cat'"),
    ],
)
def test_a_label_that_contradicts_its_class_is_refused(rows: tuple[str, ...], message: str) -> None:
    with pytest.raises(DatasetError, match=f"train.csv, {message}"):
        values("id,label,class", *rows)


def test_a_label_means_the_same_in_both_lists() -> None:
    train = values("id,label,class", "a,0,cat", "b,1,dog")
    val = values("id,label,class", "c,1,dog", "d,0,dog2", name="val.csv")
    with pytest.raises(
        DatasetError, match=r"val\.csv, line 3: label '0' goes with class 'dog2'"
    ) as e:
        meaning(train, val)
    assert "but '0' with 'cat' in train.csv, line 2: correct one of them" in str(e.value)


def test_two_columns_of_names_have_to_mean_the_same_classes() -> None:
    assert meaning(values("id,species,breed", "a,cat,tom", "b,dog,pug")).classes == ("cat", "dog")
    with pytest.raises(DatasetError, match=r"line 3: breed 'tabby' goes with species 'cat', but "):
        values("id,species,breed", "a,cat,tom", "b,cat,tabby")
    assert values("id,label,class_id", "a,3,3", "b,1,1").numbers == ["3", "1"]


def test_one_list_with_numbers_takes_names_from_the_other() -> None:
    train = values("id,label,class", "a,1,cat", "b,0,dog")
    val = values("id,label", "c,0", name="val.csv")
    known = meaning(train, val)
    assert known.classes == ("dog", "cat")
    assert known.labels(val) == [0]
    with pytest.raises(DatasetError, match=r"val\.csv, line 2: gives c '2': expected one of 2"):
        meaning(train, values("id,label", "c,2", name="val.csv"))
    with pytest.raises(DatasetError, match=r"val\.csv, line 2: gives c 'cow': expected one of 2"):
        meaning(train, values("id,class", "c,cow", name="val.csv"))


def test_names_in_one_list_and_numbers_in_the_other_are_refused() -> None:
    lists = values("id,class", "a,cat"), values("id,label", "b,0", name="val.csv")
    with pytest.raises(DatasetError, match=r"folder has names in one list and numbers in the oth"):
        meaning(*lists)
    assert meaning(*lists, given=("dog", "cat")).labels(lists[0]) == [1]


def test_classes_txt_has_the_last_word() -> None:
    given = ("bee", "ant")
    assert meaning(values("id,label", "a,1"), given=given).classes == given
    both = values("id,label,class", "a,1,ant")
    assert meaning(both, given=given).labels(both) == [1]
    with pytest.raises(
        DatasetError, match=r"line 2: label 0 goes with class 'ant', but classes\.t"
    ):
        meaning(values("id,label,class", "a,0,ant"), given=given)
    with pytest.raises(DatasetError, match=r"classes\.txt has only 2 lines"):
        meaning(values("id,label,class", "a,2,cow"), given=given)
    with pytest.raises(DatasetError, match=r"gives a '2': expected one of 2, 0 1"):
        meaning(values("id,label", "a,2"), given=given)
    with pytest.raises(DatasetError, match=r"positions in classes\.txt go into a column label"):
        meaning(values("id,class", "a,1"), given=given)


@pytest.mark.parametrize("other", ['"bird "', "bi\u0301rd", "bi  rd"])
def test_classes_that_look_alike_are_refused(other: str) -> None:
    first = {"bi\u0301rd": "b\u00edrd", "bi  rd": "bi rd"}.get(other, "bird")
    lists = values("id,class", f"a,{first}"), values("id,class", f"b,{other}", name="val.csv")
    with pytest.raises(DatasetError, match=r"folder has classes that look alike"):
        meaning(*lists)


def test_a_name_too_long_for_a_folder_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"class 'x+\.\.\.', which cannot be a folder's name"):
        meaning(values("id,class", "a," + "x" * 256))


WEIGHTS = ("dog", "cat", "cow")


def labels_for(
    *lists: Values, classes: tuple[str, ...] = WEIGHTS, given: tuple[str, ...] | None = None
) -> list[int]:
    found = meaning_for(lists, given, classes, "val.csv")
    assert found.classes == classes
    return found.labels(lists[0])


def test_labels_for_weights_come_by_name() -> None:
    assert labels_for(values("id,class", "a,cat", "b,cow")) == [1, 2]
    assert labels_for(values("id,label,class", "a,0,cat", "b,1,cow")) == [1, 2]
    with pytest.raises(DatasetError, match=r"1 of 2 classes that these weights were not trained"):
        labels_for(values("id,class", "a,cat", "b,hen"))


def test_numbers_for_weights_are_positions_in_classes_txt_alone() -> None:
    numbered = values("id,label", "a,0", "b,1")
    assert labels_for(numbered, given=("cow", "cat", "dog")) == [2, 1]
    train = values("id,label,class", "x,0,cat", "y,1,dog")
    assert labels_for(numbered, train) == [1, 0]
    with pytest.raises(DatasetError, match=r"classes that these weights were not trained for \(0"):
        labels_for(numbered)
    with pytest.raises(DatasetError, match=r"line 3: gives b '1': expected one of 1, 0"):
        labels_for(numbered, given=("cow",))


def test_numbers_are_the_names_of_weights_that_have_numbers_for_names() -> None:
    classes = tuple(f"{label:02d}" for label in range(12))
    assert labels_for(values("id,label", "a,3", "b,011"), classes=classes) == [3, 11]
    every = values("id,label", *(f"{number},{number}" for number in range(1000)))
    assert labels_for(every, classes=wnids()) == list(range(1000))
    with pytest.raises(DatasetError, match="not trained for"):
        labels_for(values("id,label", "a,3", "b,999"), classes=wnids())


def test_classes_txt_in_another_order_is_mapped_and_may_not_contradict() -> None:
    both = values("id,label,class", "a,0,cat")
    assert labels_for(both, given=("cat", "dog")) == [1]
    with pytest.raises(DatasetError, match=r"label 0 goes with class 'cat', but classes\.txt"):
        labels_for(both, given=("dog", "cat"))
