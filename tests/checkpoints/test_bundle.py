from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mixnet_core.checkpoints.bundle import (
    CONTENTS,
    OPTIMIZER,
    WEIGHTS,
    complete_bundles,
    prune,
    read_contents,
    write_bundle,
)
from mixnet_core.errors import IntegrityError
from mixnet_core.files import sha256_of
from mixnet_core.values import Checkpoint


def fill(text: str) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        (folder / WEIGHTS).write_text(f"weights {text}")
        (folder / OPTIMIZER).write_text(f"momenta {text}")

    return save


def bundle(folder: Path, step: int) -> Checkpoint:
    return write_bundle(folder, step=step, epoch=step // 10, loss=0.5, save=fill(str(step)))


def test_a_bundle_reads_back_as_it_was_written(tmp_path: Path) -> None:
    written = bundle(tmp_path, 120)
    assert complete_bundles(tmp_path) == [written]
    assert (written.step, written.epoch) == (120, 12)
    assert written.weights_sha256 == sha256_of(Path(written.path) / WEIGHTS)
    assert read_contents(Path(written.path)).loss == 0.5


def test_bundles_come_oldest_first_however_many_digits_their_steps_have(tmp_path: Path) -> None:
    steps = [1_000_000_000, 5, 200_000_000, 30]
    for step in steps:
        bundle(tmp_path, step)
    assert [found.step for found in complete_bundles(tmp_path)] == sorted(steps)


def test_a_save_that_fails_leaves_no_bundle_and_the_earlier_one(tmp_path: Path) -> None:
    earlier = bundle(tmp_path, 10)

    def save(folder: Path) -> None:
        fill("20")(folder)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        write_bundle(tmp_path, step=20, epoch=2, loss=0.1, save=save)
    assert complete_bundles(tmp_path) == [earlier]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]


def test_a_process_killed_while_saving_leaves_no_bundle(tmp_path: Path) -> None:
    earlier = bundle(tmp_path, 10)
    program = f"""
import os, signal
from pathlib import Path
from mixnet_core.checkpoints.bundle import WEIGHTS, write_bundle
def save(folder):
    (folder / WEIGHTS).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
write_bundle(Path({str(tmp_path)!r}), step=20, epoch=2, loss=0.1, save=save)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == -9
    assert complete_bundles(tmp_path) == [earlier]
    assert len(list(tmp_path.iterdir())) == 2
    prune(tmp_path, keep=1)
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
        (edit_contents(step="many"), "is not a complete checkpoint: 1 validation error"),
        (edit_contents(format=2), "is not a complete checkpoint: 1 validation error"),
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
    second = write_bundle(tmp_path, step=10, epoch=1, loss=0.4, save=fill("again"))
    assert second.weights_sha256 != first.weights_sha256
    assert complete_bundles(tmp_path) == [second]


def test_pruning_keeps_the_newest(tmp_path: Path) -> None:
    written = [bundle(tmp_path, step) for step in (10, 20, 30, 40)]
    prune(tmp_path, keep=2)
    assert complete_bundles(tmp_path) == written[2:]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_later_bundle_does_not_push_out_a_complete_one(tmp_path: Path) -> None:
    complete = bundle(tmp_path, 20)
    flip_a_byte(Path(bundle(tmp_path, 30).path))
    prune(tmp_path, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == [Path(complete.path).name]


def test_a_folder_that_is_not_there_has_no_bundles(tmp_path: Path) -> None:
    assert complete_bundles(tmp_path / "none") == []
