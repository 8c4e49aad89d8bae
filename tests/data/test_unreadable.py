"""Images that cannot be read in a long training: counted, reported, survived up to a limit."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.data.augment.making import TrainingBatch
from mixnet_core.data.batches import training_batches
from mixnet_core.data.index import Index
from mixnet_core.data.unreadable import Unreadable, UnreadableImages, count_unreadable
from mixnet_core.errors import DatasetError
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.runs.run_dir import RunDir
from tests.data.augment.photographs import CLASSES, write_photographs

BROKEN = (3, 11)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Forty images, two of which were overwritten since they were indexed."""
    index = write_photographs(tmp_path_factory.mktemp("photographs"), 40)
    for number in BROKEN:
        path = index.root / index.paths[number]
        path.write_bytes(bytes(path.stat().st_size))
    return index


def recipe() -> Recipe:
    changes = {
        "training.global_batch": 8,
        "input.image_size": 16,
        "augment.crop_scale": [0.5, 1.0],
        "devices.ranks": 1,
        "devices.micro_batch": 4,
    }
    return load_recipe("digits", changes)


def epoch(
    index: Index, unreadable: UnreadableImages | None, number: int = 0
) -> list[TrainingBatch]:
    batches = training_batches(
        index,
        recipe(),
        classes=CLASSES,
        epoch=number,
        rank=0,
        threads=2,
        unreadable=unreadable,
    )
    return list(batches)


def test_others_of_their_batch_stand_in_with_their_own_labels(
    photographs: Index, tmp_path: Path
) -> None:
    batches = epoch(photographs, UnreadableImages(tmp_path / "unreadable", 2, 0))
    assert sum(len(batch.positions) for batch in batches) == 40
    damaged = [batch for batch in batches if batch.unreadable]
    assert 1 <= len(damaged) <= 2
    for batch in batches:
        assert not set(batch.positions.tolist()) & set(BROKEN)
        assert len(set(batch.positions.tolist())) == 4 - len(batch.unreadable)
        labels = photographs.labels[batch.positions]
        np.testing.assert_array_equal(batch.targets.argmax(axis=1), labels)
        twins = {
            int(position): image
            for position, image in zip(batch.positions, batch.images, strict=True)
        }
        for position, image in zip(batch.positions, batch.images, strict=True):
            np.testing.assert_array_equal(image, twins[int(position)])


def test_each_is_a_line_of_the_runs_file_and_a_warning(
    photographs: Index, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "unreadable.jsonl"
    assert count_unreadable(file) == 0
    with caplog.at_level(logging.WARNING):
        epoch(photographs, UnreadableImages(file, 2, 5), number=6)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {row["path"] for row in rows} == {photographs.paths[number] for number in BROKEN}
    assert {(row["epoch"], row["rank"]) for row in rows} == {(7, 5)}
    assert all("image" in row["reason"] for row in rows)
    assert "2 of at most 2 in epoch 7 of rank 5" in caplog.text
    assert count_unreadable(file) == 2
    # Another host's ranks have a file of their own; an image that both met is one.
    rows[0]["path"] = "train/a/other.jpg"
    text = "".join(json.dumps(row) + "\n" for row in rows)
    RunDir(tmp_path).unreadable_on(1).write_text(text)
    assert RunDir(tmp_path).unreadable_on(0) == file
    assert count_unreadable(file) == 3


def test_one_more_than_allowed_ends_the_run_and_says_how_many(
    photographs: Index, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"2 images of rank 0 .*max_unreadable allows 1"):
        epoch(photographs, UnreadableImages(tmp_path / "unreadable", 1, 0))


def test_without_a_limit_the_first_one_ends_it(photographs: Index) -> None:
    with pytest.raises(DatasetError, match=r"\.jpg .*mixnet prepare.*data\.max_unreadable"):
        epoch(photographs, None)


def test_every_epoch_has_the_whole_limit(photographs: Index, tmp_path: Path) -> None:
    counted = UnreadableImages(tmp_path / "unreadable", 2, 0)
    for number in range(3):
        epoch(photographs, counted, number)
    assert count_unreadable(tmp_path / "unreadable") == 2


def test_a_batch_of_which_nothing_is_left_ends_it(tmp_path: Path) -> None:
    index = write_photographs(tmp_path, 8)
    for path in index.paths:
        (tmp_path / path).unlink()
    with pytest.raises(DatasetError, match="no image of a whole batch can be read"):
        epoch(index, UnreadableImages(None, 1000, 0))


def test_a_line_that_a_crash_cut_short_is_not_counted(tmp_path: Path) -> None:
    file = tmp_path / "unreadable.jsonl"
    UnreadableImages(file, 1, 0).add(0, Unreadable("train/a/b.jpg", "gone"))
    with file.open("a") as lines:
        lines.write('{"epoch": 1, "rank": 0, "pa')
    assert count_unreadable(file) == 1
    UnreadableImages(file, 1, 0).add(0, Unreadable("train/a/lost.jpg", "gone"))
    UnreadableImages(file, 1, 0).add(0, Unreadable("train/a/c.jpg", "gone"))
    assert count_unreadable(file) == 2
