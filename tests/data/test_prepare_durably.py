"""What a crash, a damage, a race or a full disk leaves behind."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixnet_core.data.index import read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import MachineError
from mixnet_core.storage import files
from tests.data.samples import contents, data, snapshot, write_idx_folder

LABELS = [0, 1, 2, 3] * 25


@pytest.fixture
def idx(tmp_path: Path) -> Path:
    return write_idx_folder(tmp_path / "idx", LABELS, [3, 2, 1, 0])


@pytest.mark.parametrize("damage", ["manifest.json", "train.csv", "classes.txt", "image", "val"])
def test_a_damaged_dataset_is_repaired(
    tmp_path: Path, idx: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = data("fashion_mnist", idx)
    first = prepare_dataset(settings, tmp_path / "datasets")
    root = Path(first.root)
    if damage == "image":
        (root / read_index(root, "train").paths[3]).unlink()
    elif damage == "val":
        shutil.rmtree(root / "val")
    else:
        (root / damage).write_text("nonsense")
    with caplog.at_level(logging.WARNING):
        second = prepare_dataset(settings, tmp_path / "datasets")
    assert not second.reused
    assert second == first
    assert len(contents(second)) == 104
    assert [record.getMessage()[:16] for record in caplog.records] == ["preparing anew: "]
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == [root.name]


def test_a_dataset_that_another_process_finished_meanwhile_is_left_alone(
    tmp_path: Path, idx: Path
) -> None:
    settings = data("fashion_mnist", idx)
    finished: dict[str, tuple[int, int]] = {}

    def meanwhile(done: int, total: int) -> None:
        if done == total:
            prepare_dataset(settings, tmp_path / "datasets")
            finished.update(snapshot(next((tmp_path / "datasets").glob("fashion_mnist-*"))))

    dataset = prepare_dataset(settings, tmp_path / "datasets", meanwhile)
    assert dataset.reused
    assert finished
    assert snapshot(Path(dataset.root)) == finished


def test_the_dataset_that_another_process_finished_while_ours_went_to_the_disk_stays(
    tmp_path: Path, idx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = data("fashion_mnist", idx)
    finished: dict[str, int] = {}
    real = files.sync

    def meanwhile(path: Path) -> None:
        if path.suffix == ".png" and not finished:
            finished["begun"] = 0
            theirs = prepare_dataset(settings, tmp_path / "datasets")
            finished["inode"] = Path(theirs.root).stat().st_ino
        real(path)

    monkeypatch.setattr(files, "sync", meanwhile)
    dataset = prepare_dataset(settings, tmp_path / "datasets")
    assert dataset.reused
    assert Path(dataset.root).stat().st_ino == finished["inode"]


KILLED = """
import sys
from pathlib import Path
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.recipe.sections import Data

def wait(done, total):
    if done == 50:
        print("half", flush=True)
        sys.stdin.read()

prepare_dataset(Data.model_validate_json(sys.argv[1]), Path(sys.argv[2]), wait)
"""


def test_a_kill_in_the_middle_leaves_no_half_dataset(tmp_path: Path, idx: Path) -> None:
    settings = data("fashion_mnist", idx)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, settings.model_dump_json(), str(tmp_path / "datasets")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    left = [path.name for path in (tmp_path / "datasets").iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".aside-")
    dataset = prepare_dataset(settings, tmp_path / "datasets")
    assert not dataset.reused
    assert len(contents(dataset)) == 104


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount).returncode:
        pytest.skip("only root can mount a tiny disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_line_and_leaves_nothing(tiny_disk: Path, idx: Path) -> None:
    with pytest.raises(MachineError, match="No space left on device; free space or") as caught:
        prepare_dataset(data("fashion_mnist", idx), tiny_disk / "datasets")
    assert "\n" not in str(caught.value)
    assert f"cannot write {tiny_disk}/datasets/fashion_mnist-" in str(caught.value)
    assert list((tiny_disk / "datasets").iterdir()) == []
