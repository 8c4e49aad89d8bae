"""Workspace and disk, on disks of a chosen size: in memory, mounted by root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mixnet_core import errors
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages.check_machine import check_disk, check_workspace
from mixnet_core.stages.check_result import CheckResult
from tests.data.samples import write_image_folder
from tests.stages.test_check import failure


@contextmanager
def disk_of(folder: Path, size: str) -> Iterator[Path]:
    """Yields an empty disk: of so many bytes (`size=...`) or so many files (`nr_inodes=...`)."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount).returncode:
        pytest.skip("only root can mount a tiny disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_workspace_that_cannot_be_made_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    error = failure(check_workspace(Workspace(tmp_path / "file" / "workspace")))
    assert isinstance(error, errors.MachineError)
    assert f"cannot write {tmp_path}/file/workspace" in str(error)


def test_a_workspace_is_made_with_the_folders_above_it_and_may_be_there_already(
    tmp_path: Path,
) -> None:
    workspace = Workspace(tmp_path / "not" / "there")
    for _ in range(2):
        assert check_workspace(workspace).detail == f"{workspace.root} is writable"
    assert list(workspace.root.iterdir()) == []


def test_a_full_disk_is_found_by_writing_to_it(tmp_path: Path) -> None:
    with disk_of(tmp_path / "disk", "size=4096") as disk:
        (disk / "full").write_bytes(bytes(4096))
        error = failure(check_workspace(Workspace(disk)))
        assert f"cannot write {disk}: No space left on device; free space" in str(error)


def test_a_usual_disk_is_large_enough_for_the_digits(tmp_path: Path) -> None:
    assert check_disk(load_recipe("digits"), Workspace(tmp_path / "not" / "there")).ok


def test_copies_need_files_as_well_as_bytes(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 15, "bee": 15})

    def checked(layout: str, disk: Path) -> CheckResult:
        changes = {"data.path": str(images), "data.layout": layout, "weights.name": None}
        return check_disk(load_recipe("finetune", changes), Workspace(disk))

    # The disk's own folder is a file too.
    with disk_of(tmp_path / "small", "nr_inodes=30") as disk:
        assert checked("in_place", disk).ok
        assert checked("mindrecord", disk).ok
        message = str(failure(checked("links", disk)))
        assert message == (
            f"29 files fit on the disk of {disk}, 30 are needed; "
            "choose another workspace, or data.layout mindrecord"
        )
    with disk_of(tmp_path / "large", "nr_inodes=31") as disk:
        assert checked("links", disk).ok


def test_a_disk_of_exactly_what_is_needed_is_enough_and_a_page_less_is_not(tmp_path: Path) -> None:
    recipe = load_recipe(
        "digits",
        {"selection.policy": "last", "training.keep_checkpoints": 12, "training.epochs": 100},
    )
    # Twelve checkpoints and one that is being written, of 4.2 million parameters with AdamW's two
    # moments; 1,797 digits of a block each; 100 MB for everything else of a run.
    needed = 13 * 4_200_000 * 12 + 1_797 * 4_096 + 100_000_000
    with disk_of(tmp_path / "enough", f"size={needed}") as disk:
        assert shutil.disk_usage(disk).free == needed
        assert check_disk(recipe, Workspace(disk)).ok
    with disk_of(tmp_path / "less", f"size={needed - 4_096}") as disk:
        assert str(failure(check_disk(recipe, Workspace(disk)))) == (
            f"0.8 GB free at {disk}, about 0.8 GB needed; "
            "free space, choose another workspace or lower training.keep_checkpoints"
        )


@pytest.mark.parametrize(
    ("variant", "learnable"),
    [("s", 4_134_606), ("m", 5_014_382), ("l", 7_329_252), ("xl", 11_896_768)],
)
@pytest.mark.parametrize(("optimizer", "moments"), [("momentum", 1), ("adamw", 2)])
@pytest.mark.parametrize("averages", [False, True], ids=["", "ema"])
def test_what_checkpoints_need_is_estimated_a_little_too_high(
    variant: str, learnable: int, optimizer: str, moments: int, averages: bool, tmp_path: Path
) -> None:
    changes = {
        "network.variant": variant,
        "optimizer.name": optimizer,
        "training.ema_decay": 0.99 if averages else None,
        "training.keep_checkpoints": 10**9,
        "training.epochs": 10**9,
    }
    error = failure(check_disk(load_recipe("digits", changes), Workspace(tmp_path)))
    (estimated,) = re.findall(r"about (\S+) GB needed", str(error))
    # A billion of them, in float32.
    checkpoint = 4 * learnable * (1 + moments + averages)
    assert checkpoint < float(estimated) < 1.02 * checkpoint


def test_initial_weights_need_room_too(tmp_path: Path) -> None:
    recipe = load_recipe(
        "digits",
        {"selection.policy": "last", "training.epochs": 2, "weights.name": "mixnet_s"},
    )
    # Three checkpoints of 4.2 million parameters with AdamW's two moments, and weights as a
    # training may have written them; 1,797 digits of a block each; 100 MB for all else of a run.
    needed = 4 * 4_200_000 * 12 + 1_797 * 4_096 + 100_000_000
    with disk_of(tmp_path / "enough", f"size={needed}") as disk:
        assert check_disk(recipe, Workspace(disk)).ok
    with disk_of(tmp_path / "less", f"size={needed - 4_096}") as disk:
        assert not check_disk(recipe, Workspace(disk)).ok
        from_scratch = recipe.model_copy(
            update={"weights": recipe.weights.model_copy(update={"name": None})}
        )
        assert check_disk(from_scratch, Workspace(disk)).ok
