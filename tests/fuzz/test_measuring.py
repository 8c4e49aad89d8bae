"""Whatever the folders are called that are measured, a label is a name's or there is none."""

from __future__ import annotations

import csv
import os
import unicodedata
from pathlib import Path

from hypothesis import strategies as st

from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.pictures import UNUSABLE
from mixnet_core.data.prepare import prepare_val
from tests.data.samples import data
from tests.fuzz.bounds import ended, place
from tests.fuzz.folders import CLASSES, SYSTEMS_OWN, write
from tests.fuzz.searching import rule

# A class of weights is a line of a text; a folder's name need not be.
_TEXTS = [name for name in CLASSES if not UNUSABLE.search(name)]
_TRAINED_ON = st.one_of(
    st.lists(st.sampled_from(_TEXTS), min_size=2, max_size=6, unique=True).map(tuple),
    st.just(("ant", "bee", "cat", "10", "2")),
    st.just(wnids()),
)


def _otherwise(name: str, how: str) -> str:
    changes = {
        "as it is": name,
        "NFC": unicodedata.normalize("NFC", name),
        "NFD": unicodedata.normalize("NFD", name),
        "NFKC": unicodedata.normalize("NFKC", name),
        "upper": name.upper(),
        "lower": name.lower(),
        "spaced": f"{name} ",
        "underscored": name.replace(" ", "_"),
        "zero": f"0{name}",
    }
    return changes[how]


_HOW = (
    "as it is", "as it is", "as it is", "NFC", "NFD", "NFKC", "upper", "lower", "spaced",
    "underscored", "zero",
)  # fmt: skip


@st.composite
def _measured(draw: st.DrawFn) -> tuple[tuple[str, ...], list[str], str]:
    """Classes of the weights, names of folders, and the split's that they stand in."""
    classes = draw(_TRAINED_ON)
    some = st.lists(st.sampled_from(classes), min_size=1, max_size=5, unique=True)
    numbers = st.lists(st.integers(0, 1001).map(str), min_size=1, max_size=5, unique=True)
    named = draw(st.one_of(some, some, some, numbers, st.permutations(classes[:8])))
    how = st.sampled_from(_HOW if draw(st.booleans()) else _HOW[:1])
    folders = [_otherwise(name, draw(how)) for name in named]
    if draw(st.integers(0, 5)) == 0:
        folders.append(draw(st.sampled_from(CLASSES)))
    usable = [name for name in dict.fromkeys(folders) if 0 < len(os.fsencode(name)) <= 255]
    return tuple(classes), usable, draw(st.sampled_from(["", "val/", "test/", "Validation/"]))


@rule(few=150, measured=_measured())
def test_a_label_is_that_of_the_folders_name_or_there_is_none(
    measured: tuple[tuple[str, ...], list[str], str],
) -> None:
    classes, folders, split = measured
    with place() as folder:
        tree = {f"{split}{name}/1.png": f"PNG {place}" for place, name in enumerate(folders)}
        section = data("image_folder", write(tree, folder / "images"))
        prepared = ended(prepare_val, section, folder / "datasets", classes=classes)
        if prepared.error is not None:
            assert type(prepared.error).__name__ == "DatasetError"
            return
        assert prepared.value.classes == classes
        with (Path(prepared.value.root) / "val.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    assert len(rows) == len([name for name in folders if not _is_passed_over(name)])
    for row in rows:
        name, label = row["path"].split("/")[-2], int(row["label"])
        if classes == wnids() and name.isdecimal():
            assert label == int(name)
        else:
            assert _same(name, classes[label])


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name in SYSTEMS_OWN


def _same(name: str, other: str) -> bool:
    return unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
