"""Checkpoints of a training that diverged: none that may be ill is ever gone on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.checkpoints.bundle import (
    OPTIMIZER,
    WEIGHTS,
    Division,
    Position,
    complete_bundles,
    newest_bundle,
    write_bundle,
)
from mixnet_core.checkpoints.distrust import distrust, go_back

DIVISION = Division(
    ranks=1, accumulation=1, threads=1, operators="plain", target="CPU", mindspore="2.10.0"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With bundles of steps 4, 8, 12 and 16; four steps are an epoch."""

    def save(aside: Path) -> None:
        (aside / WEIGHTS).write_text("weights")
        (aside / OPTIMIZER).write_text("momenta")

    for step in (4, 8, 12, 16):
        position = Position(step=step, epoch=step // 4, loss=0.5)
        write_bundle(tmp_path, position=position, division=DIVISION, save=save)
    return tmp_path


def test_what_was_saved_since_is_set_aside_with_its_bytes(folder: Path) -> None:
    assert distrust(folder, 11) == ["step-00000012", "step-00000016"]
    assert newest_bundle(folder).step == 8
    assert [found.step for found in complete_bundles(folder)] == [4, 8]
    assert (folder / "diverged-step-00000016" / WEIGHTS).read_text() == "weights"
    assert distrust(folder, 11) == []


def test_going_back_goes_behind_the_newest_good_one_too(folder: Path) -> None:
    assert go_back(folder, 14) == ["step-00000012", "step-00000016"]
    assert newest_bundle(folder).step == 8


def test_going_back_keeps_the_only_good_one_and_goes_to_the_beginning_without_any(
    folder: Path,
) -> None:
    assert go_back(folder, 8) == ["step-00000008", "step-00000012", "step-00000016"]
    assert newest_bundle(folder).step == 4
    assert go_back(folder, 4) == ["step-00000004"]
    assert newest_bundle(folder).path is None
    assert go_back(folder, 1) == []


def test_a_damaged_one_is_not_counted_as_good(folder: Path) -> None:
    (folder / "step-00000008" / WEIGHTS).write_text("another")
    go_back(folder, 12)
    assert newest_bundle(folder).step == 4
    assert (folder / "damaged-step-00000008").is_dir()
