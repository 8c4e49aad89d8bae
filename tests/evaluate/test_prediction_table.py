from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mixnet_core.errors import IntegrityError
from mixnet_core.evaluate.counting import JUDGED
from mixnet_core.evaluate.prediction_table import PredictionTable, read_table, write_table

CLASSES = ["ant", 'bee, "queen"', "käfer"]


def table() -> PredictionTable:
    rows = np.array(
        [(0, 0, 0, 0, 1 / 3, 0.1), (1, 1, 2, 1, 0.9, 2.302585092994046), (2, 2, 1, 2, 0.5, 3e-17)],
        JUDGED,
    )
    return PredictionTable(("val/ant/1.png", "val/bee/a,b.png", "val/käfer/x y.png"), rows)


def test_a_table_reads_back_to_the_last_bit(tmp_path: Path) -> None:
    write_table(tmp_path / "answers.csv", table(), CLASSES)
    found = read_table(tmp_path / "answers.csv", CLASSES)
    assert found.images == table().images
    np.testing.assert_array_equal(found.rows, table().rows)
    first = (tmp_path / "answers.csv").read_text(encoding="utf-8").splitlines()[:2]
    assert first == [
        "image,label,answer,place,confidence,loss",
        "val/ant/1.png,ant,ant,0,0.3333333333333333,0.1",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "image,label\n",
        "image,label,answer,place,confidence,loss\na,ant,wasp,0,1.0,0.0\n",
        "image,label,answer,place,confidence,loss\na,ant,ant,0,1.0\n",
        "image,label,answer,place,confidence,loss\na,ant,ant,x,1.0,0.0\n",
        "image,label,answer,place,confidence,loss\na,ant,ant,99999999999,1.0,0.0\n",
        "image,label,answer,place,confidence,loss\na,ant,ant,-1,1.0,0.0\n",
        "image,label,answer,place,confidence,loss\na,ant,ant,0,1.0,nan\n",
    ],
    ids=[
        "empty",
        "header",
        "another-class",
        "short-row",
        "no-number",
        "no-place",
        "negative",
        "not-finite",
    ],
)
def test_what_is_no_table_of_these_classes_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "answers.csv").write_text(text, encoding="utf-8")
    with pytest.raises(IntegrityError, match="is no table of answers"):
        read_table(tmp_path / "answers.csv", CLASSES)


def test_names_with_line_breaks_read_back(tmp_path: Path) -> None:
    classes = ["a\rb", "c\nd", "e\r\nf"]
    images = tuple(f"val/{name}/1.png" for name in classes)
    write_table(tmp_path / "answers.csv", PredictionTable(images, table().rows), classes)
    assert read_table(tmp_path / "answers.csv", classes).images == images
