"""Labels of a flat val split from a text file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.imagenet.val_labels import read_val_labels
from mixnet_core.errors import DatasetError

NAMES = ["a.JPEG", "b.JPEG", "c.JPEG"]
A, B, C = wnids()[7], wnids()[0], wnids()[999]


@pytest.mark.parametrize(
    "text",
    [
        f"{A}\n{B}\n{C}\n",
        f"a.JPEG {A}\nb.JPEG {B}\nc.JPEG {C}",
        f"c.JPEG,{C}\na.JPEG,{A}\n\nb.JPEG,{B}\n",
        f"b.JPEG\t{B}\r\na.JPEG\t{A}\r\nc.JPEG\t{C}\r\n",
    ],
)
def test_labels_are_places_in_the_catalog(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels").write_text(text)
    assert read_val_labels(tmp_path / "labels", NAMES) == [7, 0, 999]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{A}\n{B}\n", "has 2 labels, there are 3 val images"),
        (f"{A}\n{B}\n{C}\n{C}\n", "has 4 labels, there are 3 val images"),
        (f"{A}\n{B}\nn00000000\n", "line 3: 'n00000000' is none of ImageNet's 1,000 classes"),
        ("1\n2\n3\n", "line 1: '1' is none"),
        (f"a.JPEG {A}\n{B}\n{C}\n", "is no list of labels: expected lines `name wnid`"),
        (f"a.JPEG {A}\nb.JPEG {B}\nd.JPEG {C}\n", "no label for 1 of 3 .* the first is c.JPEG"),
        (f"a.JPEG {A}\na.JPEG {B}\nc.JPEG {C}\n", "no label for 1 of 3 .* the first is b.JPEG"),
        ("", "is no list of labels"),
        ("\udcff", "is no text"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DatasetError, match=message) as error:
        read_val_labels(tmp_path / "labels", NAMES)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no file of val labels at .*/nowhere"):
        read_val_labels(tmp_path / "nowhere", NAMES)
