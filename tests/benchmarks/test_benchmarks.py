"""The figures that benchmarks print: how they are computed, and that a section runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.images.imagenet_archives import write_archives
from benchmarks.images.photographs import write_photographs
from benchmarks.inference import agreement, write_seeded
from benchmarks.jobs.requests import OperatorRow, OperatorsTiming, SeededJob
from benchmarks.operators import expect_equal, layer_rows, measure_rows
from benchmarks.options import Options, published_recipe
from benchmarks.preparation import measure_archives
from benchmarks.rounds import (
    Case,
    Measured,
    Measurements,
    significant,
    speed_rows,
    speed_table,
    spread,
    timed,
)
from benchmarks.upload import measure as measure_upload
from mixnet_core.errors import InputError, JobFailed

ROOT = Path(__file__).parents[2]
JOB = SeededJob(recipe={}, folder="")


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where `make bench` stands; the stages' processes import `benchmarks` from it.
    monkeypatch.chdir(ROOT)


def measurements(name: str, base: str, speeds: list[float]) -> Measurements:
    rounds = [Measured(speed=s, first_seconds=2, peak_mb=100 * s) for s in speeds]
    return Measurements(Case(name, base, "", JOB), rounds)


def with_logits(*logits: list[float]) -> dict[str, Measurements]:
    return {
        str(i): Measurements(
            Case(str(i), "0", "", JOB),
            [Measured(speed=1, first_seconds=1, peak_mb=1, logits=values)],
        )
        for i, values in enumerate(logits)
    }


def test_a_ratio_is_the_median_over_rounds_not_the_ratio_of_medians() -> None:
    found = {
        "stock": measurements("stock", "stock", [1.0, 10.0, 5.0]),
        "native": measurements("native", "stock", [3.0, 10.0, 20.0]),
    }
    header, _, stock, native = speed_table(found).splitlines()
    assert header.startswith("| case | img/s, median (min - max) | ratio | against |")
    assert stock == "| stock | 5.00 (1.00 - 10.0) | 1 |  | 500 | 2.00 |"
    assert native == "| native | 10.0 (3.00 - 20.0) | 3.00 (1.00 - 4.00) | stock | 1000 | 2.00 |"
    assert speed_rows(found)[1]["ratio"] == [3.0, 1.0, 4.0]
    assert speed_rows(found)[1]["median_ratio"] == 3.0


def test_a_case_that_missed_a_round_has_no_ratio() -> None:
    found = {"a": measurements("a", "a", [1.0, 2.0]), "b": measurements("b", "a", [1.0])}
    with pytest.raises(ValueError, match="longer"):
        speed_table(found)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.0123"),
        (0.9996, "1.00"),
        (9.996, "10.0"),
        (123.4, "123"),
        (1234.5, "1234"),
        (0, "0.00"),
    ],
)
def test_a_figure_has_three_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_a_spread_is_median_and_extremes() -> None:
    assert spread([4.0, 1.0, 2.0, 3.0]) == "2.50 (1.00 - 4.00)"


def test_calls_are_timed_until_both_number_and_time_are_reached() -> None:
    assert len(timed(lambda: None, least=3, seconds=0)) == 3
    assert len(timed(lambda: None, least=1, seconds=0.01)) > 1


def test_equal_logits_agree_and_rounding_is_told() -> None:
    assert agreement(with_logits([1.0, -4.0], [1.0, -4.001])) == pytest.approx(0.00025)


@pytest.mark.parametrize("wrong", [1.01, math.nan])
def test_an_engine_that_computes_something_else_is_refused(wrong: float) -> None:
    with pytest.raises(JobFailed, match="its speed says nothing"):
        agreement(with_logits([1.0, -4.0], [1.0, -4.0], [wrong, -4.0]))


def test_seeded_weights_tell_images_apart(tmp_path: Path) -> None:
    from benchmarks.jobs.pixels_in_memory import PixelsInMemory

    recipe = published_recipe("s", 32)
    assert write_seeded(recipe, tmp_path) == 4_134_606
    logits = []
    for seed in (0, 1):
        images = np.random.default_rng(seed).integers(0, 256, (2, 32, 32, 3), np.uint8)
        engine = PixelsInMemory(recipe, [images], threads=1)
        engine.load(tmp_path / "weights.ckpt")
        assert engine.images_per_second(0) > 0
        logits.append(engine.first_logits)
    assert np.abs(logits[0] - logits[1]).max() > 0.01 * np.abs(logits[0]).max()


def test_layers_are_those_of_the_published_networks_each_once() -> None:
    rows = layer_rows(("s", "m", "l"), 224)
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    assert [sum(row.layer == kind for row in rows) for kind in ("stem", "depthwise")] == [3, 28]
    assert "depthwise 144 x 56 x 56, kernels 3, 5, 7, stride 2" in names
    assert "BatchNorm + swish, 1200 x 7 x 7" in names


def test_operators_are_measured_side_by_side() -> None:
    rows = [
        OperatorRow(layer="depthwise", channels=7, plane=5, kernels=(3, 5), stride=2),
        OperatorRow(layer="norm", channels=4, plane=5, activation="swish"),
        OperatorRow(layer="stem", channels=4, plane=9, stride=2),
    ]
    section = measure_rows(rows, batch=1, rounds=1)
    assert [row["name"] for row in section.rows] == [row.name for row in rows]
    assert [row["output"] for row in section.rows] == [[1, 7, 3, 3], [1, 4, 5, 5], [1, 4, 5, 5]]
    for row in section.rows:
        for what in ("forward", "both"):
            (stock,), (native,) = row[what]["stock_ms"], row[what]["native_ms"]
            assert stock > 0
            assert native > 0
            assert row[what]["ratio"] == [stock / native]
    assert section.table.count("geometric mean") == 3


@pytest.mark.parametrize(
    "native",
    [
        {"sums": [[8.0, 1.1]]},
        {"sums": [[8.0, math.nan]]},
        {"sums": [[8.0]]},
        {"shapes": [[1, 2, 4, 1]]},
    ],
)
def test_layers_that_compute_something_else_are_refused(native: dict[str, Any]) -> None:
    rows = [OperatorRow(layer="depthwise", channels=2, plane=2)]
    stock = OperatorsTiming(
        forward=[1], both=[1], shapes=[[1, 2, 2, 2]], sums=[[8.0, 1.0]], peak_mb=1
    )
    expect_equal(rows, stock, stock.model_copy(update={"sums": [[8.0, 1.0001]]}))
    with pytest.raises(JobFailed, match="expected equal ones"):
        expect_equal(rows, stock, stock.model_copy(update=native))


def test_photographs_are_crops_that_differ(tmp_path: Path) -> None:
    write_photographs(tmp_path, 12, None)
    files = sorted((tmp_path / "val").glob("*/*.jpg"))
    assert len(files) == 12
    assert len({file.read_bytes() for file in files}) == 12


def test_named_photographs_are_repeated_as_they_are(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.JPG").write_bytes(b"one")
    (photos / "b.jpeg").write_bytes(b"two")
    write_photographs(tmp_path / "out", 5, photos)
    contents = [file.read_bytes() for file in (tmp_path / "out" / "val").glob("*/*.jpg")]
    assert sorted(contents) == [b"one"] * 3 + [b"two"] * 2


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no JPEG"):
        write_photographs(tmp_path / "out", 1, tmp_path)


def test_preparing_is_measured_beside_tar_which_writes_the_same_images(tmp_path: Path) -> None:
    made = write_archives(tmp_path, classes=2, images_per_class=3, val_images=2, odd=False, side=64)
    section = measure_archives(made, 1)
    assert "8 JPEGs of 2 classes" in section.title
    tar, _, _ = section.rows
    assert tar["ratio"] == [1.0]
    # tar itself, not the process that started it.
    assert tar["peak_mb"][0] < 40
    assert all(row["seconds"][0] > 0 for row in section.rows)


def test_a_case_that_fails_is_a_failure_of_its_section(tmp_path: Path) -> None:
    made = write_archives(tmp_path, classes=2, images_per_class=3, val_images=2, odd=False, side=64)
    made.val_tar.write_bytes(b"no tar")
    with pytest.raises(JobFailed, match="tar and sync ended with"):
        measure_archives(made, 1)


@pytest.mark.usefixtures("object_store")
def test_uploading_is_measured_beside_boto3_alone() -> None:
    # More than goes in one request.
    section = measure_upload(Options(rounds=1), size=70_000_000)
    assert "0.07 GB" in section.title
    bare, ours = section.rows
    assert bare["ratio"] == [1.0]
    assert ours["ratio"] == [bare["seconds"][0] / ours["seconds"][0]]
    assert ours["peak_mb"][0] > 40
