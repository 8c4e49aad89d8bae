"""Lists: check and preparing agree, and every row is taken or said."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from hypothesis import assume

from mixnet_core.data.looking import found_images
from mixnet_core.data.prepare import prepare_dataset, prepare_val
from mixnet_core.errors import DatasetError
from tests.data.samples import data
from tests.fuzz import pictures
from tests.fuzz.bounds import Ended, ended, expect_one_line, place
from tests.fuzz.lists import Case, cases, write
from tests.fuzz.searching import rule

_AGAIN = re.compile(r"([\d,]+) of them again")
_SPLITS = ("train", "select", "val")


@rule(few=150, case=cases(), damaged=cases(damage=True))
def test_check_refuses_the_lists_that_preparing_refuses_in_the_same_words(
    case: Case, damaged: Case
) -> None:
    for each in (case, damaged):
        with place() as folder:
            section = data("lists", write(each, folder / "images"), layout="in_place")
            checked = ended(found_images, section, folder / "datasets")
            prepared = ended(prepare_dataset, section, folder / "datasets")
            measured = ended(prepare_val, section, folder / "measured", classes=("ant", "bee"))
        for came in (checked, prepared, measured):
            if came.error is not None:
                assert isinstance(came.error, DatasetError)
                expect_one_line(came.error)
        if checked.error is None and prepared.error is not None:
            # Only decoding tells.
            assert "cannot be used" in str(prepared.error)
            assert not all(map(pictures.is_sound, each.images.values()))
        else:
            assert checked.said == prepared.said


@rule(few=150, case=cases())
def test_each_row_of_a_list_is_taken_with_its_label_or_said(case: Case) -> None:
    with place() as folder:
        section = data("lists", write(case, folder / "images"), layout="in_place")
        prepared = ended(prepare_dataset, section, folder / "datasets")
        assume(prepared.error is None)
        rows = _index(prepared, folder)
    assert case.rows is not None
    notes = " ".join(prepared.value.notes)
    assert notes.isprintable()
    used = [name for name in case.rows if f"{name} is not used" not in notes]
    known = [row for name in used for row in case.rows[name]]
    again = sum(int(found.replace(",", "")) for found in _AGAIN.findall(notes))
    assert len(rows) + again == len(known)
    for row in rows:
        label = int(row["label"])
        values = _values_of(row["path"], known)
        assert values
        name = prepared.value.classes[label]
        assert any(_means(value.strip(), name, label) for value in values)


def _index(prepared: Ended, folder: Path) -> list[dict[str, str]]:
    found = []
    for split in _SPLITS:
        index = Path(prepared.value.root) / f"{split}.csv"
        with index.open(encoding="utf-8", newline="") as file:
            found += list(csv.DictReader(file))
    for row in found:
        assert (folder / "images" / row["path"]).is_file()
    assert len({row["path"] for row in found}) == len(found)
    return found


def _values_of(image: str, rows: list[tuple[str, str]]) -> list[str]:
    """What rows say of an image, which they name by its file, or by an id without a suffix."""
    name = image.rpartition("/")[2]
    named = [(path.strip().replace("\\", "/").rpartition("/")[2], value) for path, value in rows]
    exact = [value for other, value in named if other == name]
    return exact or [value for other, value in named if other == name.rpartition(".")[0]]


def _means(value: str, name: str, label: int) -> bool:
    """Whether a value is a class's name, or its number."""
    try:
        return value == name or int(float(value)) in (label, int(name))
    except ValueError:
        return False
