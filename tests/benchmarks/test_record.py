"""What `make bench` leaves of a day's figures, and that a whole epoch is measured."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks import record
from benchmarks.epoch import OURS
from benchmarks.epoch import measure as measure_epoch
from benchmarks.options import Options

ROW = {"case": "native", "base": "stock", "img_per_s": [40.0, 44.0, 46.0], "median_ratio": 18.04}


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as rows:
        return list(csv.DictReader(rows))


def test_a_days_figures_are_noted_once_by_cpu_and_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "record.csv"
    monkeypatch.setattr(record, "_commit", lambda: "abc1234")
    assert record.note("train", [ROW, {"gflops": 100.0}], file) == 1
    assert record.note("train", [ROW | {"img_per_s": [50.0]}], file) == 1
    assert record.note("infer", [ROW], file) == 1
    monkeypatch.setattr(record, "_commit", lambda: "def5678+")
    assert record.note("train", [ROW], file) == 1
    rows = read(file)
    assert [(row["commit"], row["section"], row["img/s"]) for row in rows] == [
        ("abc1234", "train", "50.0"),
        ("abc1234", "infer", "44.0"),
        ("def5678+", "train", "44.0"),
    ]
    assert {(row["ratio"], row["against"], row["case"]) for row in rows} == {
        ("18.0", "stock", "native")
    }
    assert all("cores (" in row["cpu"] and row["date"] for row in rows)


def test_nothing_is_noted_outside_a_checkout_or_without_speeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "_commit", lambda: None)
    assert record.note("train", [ROW], tmp_path / "record.csv") == 0
    monkeypatch.setattr(record, "_commit", lambda: "abc1234")
    assert record.note("flow", [{"case": "x", "seconds": [1.0]}], tmp_path / "record.csv") == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.slow
def test_an_epoch_from_jpegs_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(record.ROOT)
    options = Options(images=40, image_size=32, global_batch=8, rounds=1)
    section = measure_epoch(options)
    assert section.rows[0]["case"] == OURS
    assert section.rows[0]["img_per_s"][0] > 0
    assert section.rows[0]["peak_mb"][0] > 100
