from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mixnet_core.checkpoints.bundle import (
    AVERAGES,
    CONTENTS,
    DAMAGED_PREFIX,
    OPTIMIZER,
    WEIGHTS,
    Division,
    Mean,
    Position,
    complete_bundles,
    is_of_whole_epoch,
    newest_bundle,
    read_contents,
    step_of,
    write_bundle,
)
from mixnet_core.checkpoints.retention import prune
from mixnet_core.errors import IntegrityError
from mixnet_core.recipe.choices import Selection
from mixnet_core.runs.values import Checkpoint
from mixnet_core.storage.files import sha256_of


def fill(text: str) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        (folder / WEIGHTS).write_text(f"weights {text}")
        (folder / OPTIMIZER).write_text(f"momenta {text}")

    return save


DIVISION = Division(
    ranks=2, accumulation=1, threads=1, operators="native", target="CPU", mindspore="2.10.0"
)


def bundle(folder: Path, step: int) -> Checkpoint:
    """Ten steps are an epoch."""
    position = Position(step=step, epoch=step // 10, epoch_step=step % 10, loss=0.5)
    return write_bundle(folder, position=position, division=DIVISION, save=fill(str(step)))


def test_a_bundle_reads_back_as_it_was_written(tmp_path: Path) -> None:
    position = Position(
        step=123,
        epoch=12,
        epoch_step=3,
        epoch_loss=Mean() + 0.1 + 0.2 + 0.3,
        window_loss=Mean() + 1 / 3,
        loss=2 / 3,
        chance_epochs=2,
    )
    written = write_bundle(tmp_path, position=position, division=DIVISION, save=fill("x"))
    assert (written.step, written.epoch) == (123, 12)
    assert written.weights_sha256 == sha256_of(Path(written.path) / WEIGHTS)
    contents = read_contents(Path(written.path))
    # Every bit of a sum counts: a resumed run adds to it.
    assert (contents.position, contents.division) == (position, DIVISION)


def test_a_bundle_of_the_first_format_is_read(tmp_path: Path) -> None:
    folder = Path(bundle(tmp_path, 20).path)
    files = json.loads((folder / CONTENTS).read_text())["files"]
    old = {"format": 1, "step": 20, "epoch": 2, "loss": 0.25, "files": files}
    (folder / CONTENTS).write_text(json.dumps(old))
    contents = read_contents(folder)
    assert contents.position == Position(step=20, epoch=2, loss=0.25)
    # It was written at an epoch's end only, and nobody counted epochs of guessing.
    assert (contents.position.epoch_step, contents.position.chance_epochs) == (0, 0)
    assert contents.changes(DIVISION) == ["begun by an earlier version"]
    assert newest_bundle(tmp_path).path == folder
    assert [found.step for found in complete_bundles(tmp_path)] == [20]


def test_before_the_first_step_nothing_is_done() -> None:
    start = Position()
    assert (start.step, start.epoch, start.epoch_step, start.chance_epochs) == (0, 0, 0, 0)
    assert start.epoch_loss.value is start.window_loss.value is start.loss is None


def test_a_mean_of_nothing_is_none() -> None:
    assert Mean().value is None
    assert (Mean() + 1.0 + 2.0).value == 1.5


def test_a_division_says_what_another_one_changes() -> None:
    now = DIVISION.model_copy(update={"ranks": 3, "operators": "plain"})
    assert DIVISION.changes(now) == ["ranks 2 -> 3", "operators native -> plain"]
    assert DIVISION.changes(DIVISION) == []


def test_candidates_are_of_whole_epochs_and_averages_come_after_their_weights(
    tmp_path: Path,
) -> None:
    def save(folder: Path) -> None:
        fill("1")(folder)
        (folder / AVERAGES).write_text("averages")

    position = Position(step=10, epoch=1)
    weights = write_bundle(tmp_path, position=position, division=DIVISION, save=save)
    within = bundle(tmp_path, 13)
    found = complete_bundles(tmp_path)
    assert found[0] == weights
    assert [(c.step, c.file, c.averaged) for c in found] == [
        (10, WEIGHTS, False),
        (10, AVERAGES, True),
    ]
    assert found[1].weights_sha256 == sha256_of(Path(weights.path) / AVERAGES)
    # But training goes on from within the epoch.
    assert newest_bundle(tmp_path).path == Path(within.path)


def test_bundles_come_oldest_first_however_many_digits_their_steps_have(tmp_path: Path) -> None:
    steps = [1_000_000_000, 50, 200_000_000, 30]
    for step in steps:
        bundle(tmp_path, step)
    assert [found.step for found in complete_bundles(tmp_path)] == sorted(steps)
    assert newest_bundle(tmp_path).path == tmp_path / "step-1000000000"


def test_a_folder_whose_name_says_no_step_is_older_than_every_bundle(tmp_path: Path) -> None:
    (tmp_path / "step-of-mine").mkdir()
    sound = bundle(tmp_path, 0)
    assert step_of(tmp_path / "step-of-mine") == -1
    assert newest_bundle(tmp_path).path == Path(sound.path)
    assert (tmp_path / "step-of-mine").is_dir()


def test_a_bundle_says_whether_it_ends_an_epoch_and_one_that_cannot_be_read_does_not(
    tmp_path: Path,
) -> None:
    whole, within, broken = (Path(bundle(tmp_path, step).path) for step in (10, 11, 20))
    edit_contents(position={"step": "many"})(broken)
    found = [is_of_whole_epoch(path) for path in (whole, within, broken, tmp_path / "step-30")]
    assert found == [True, False, False, False]


def test_a_save_that_fails_leaves_no_bundle_and_the_earlier_one(tmp_path: Path) -> None:
    earlier = bundle(tmp_path, 10)

    def save(folder: Path) -> None:
        fill("20")(folder)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        write_bundle(tmp_path, position=Position(step=20), division=DIVISION, save=save)
    assert complete_bundles(tmp_path) == [earlier]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]


def test_a_process_killed_while_saving_leaves_no_bundle(tmp_path: Path) -> None:
    earlier = bundle(tmp_path, 10)
    program = f"""
import os, signal
from pathlib import Path
from mixnet_core.checkpoints.bundle import WEIGHTS, Division, Position, write_bundle
def save(folder):
    (folder / WEIGHTS).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
division = Division.model_validate({DIVISION.model_dump()!r})
write_bundle(Path({str(tmp_path)!r}), position=Position(step=20), division=division, save=save)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == -9
    assert complete_bundles(tmp_path) == [earlier]
    assert len(list(tmp_path.iterdir())) == 2
    prune(tmp_path, 1, Selection(policy="last"))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[3] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def lose_the_momenta(folder: Path) -> None:
    (folder / OPTIMIZER).unlink()


def lose_the_contents(folder: Path) -> None:
    (folder / CONTENTS).unlink()


def edit_contents(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        data = json.loads((folder / CONTENTS).read_text())
        (folder / CONTENTS).write_text(json.dumps(data | changes))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, "weights.ckpt is damaged: expected sha256"),
        (lose_the_momenta, "optimizer.ckpt is damaged"),
        (lose_the_contents, "is not a complete checkpoint: no file at"),
        (
            edit_contents(position={"step": "many"}),
            "is not a complete checkpoint: 1 validation error",
        ),
        (edit_contents(format=3), "is not a complete checkpoint: 1 validation error"),
        (edit_contents(files={}), "does not list weights.ckpt"),
    ],
)
def test_a_damaged_bundle_is_passed_over_with_a_warning_of_one_line(
    damage: Callable[[Path], None],
    message: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sound = bundle(tmp_path, 10)
    damaged = Path(bundle(tmp_path, 20).path)
    damage(damaged)
    with pytest.raises(IntegrityError) as raised:
        read_contents(damaged)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    with caplog.at_level(logging.WARNING):
        assert complete_bundles(tmp_path) == [sound]
    assert [record.getMessage() for record in caplog.records] == [
        f"checkpoint passed over: {raised.value}"
    ]


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    first = bundle(tmp_path, 10)
    position = Position(step=10, epoch=1)
    second = write_bundle(tmp_path, position=position, division=DIVISION, save=fill("again"))
    assert second.weights_sha256 != first.weights_sha256
    assert complete_bundles(tmp_path) == [second]


def test_a_damaged_newest_bundle_is_set_aside_and_the_one_before_is_resumed_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound = bundle(tmp_path, 20)
    for step in (30, 40):
        flip_a_byte(Path(bundle(tmp_path, step).path))
    with caplog.at_level(logging.WARNING):
        newest = newest_bundle(tmp_path)
    assert newest == (Path(sound.path), 20, ("step-00000030", "step-00000040"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{DAMAGED_PREFIX}step-00000030",
        f"{DAMAGED_PREFIX}step-00000040",
        "step-00000020",
    ]
    assert "checkpoint set aside as damaged-step-00000040" in caplog.text
    # Training makes it again, and it is damaged again: the name is free.
    flip_a_byte(Path(bundle(tmp_path, 30).path))
    assert newest_bundle(tmp_path).path == Path(sound.path)


def test_a_folder_that_is_not_there_has_no_bundles(tmp_path: Path) -> None:
    assert complete_bundles(tmp_path / "none") == []
    assert newest_bundle(tmp_path / "none") == (None, 0, ())
