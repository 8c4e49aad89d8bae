"""Unpacking ImageNet's archives, killed again and again: what is left at the end is the same."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.imagenet_archives import Archives, write_archives

KILLS = 10
# Until Python has imported what it needs.
_STARTED = 0.6
# How long it takes is told by the clock.
_REPORTS = ("report.md", "report.json")


def command(made: Archives, to: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "mixnet_core.cli", "prepare", "imagenet", "--subset", "--quiet"),
        *("--train-tar", str(made.train_tar), "--val-tar", str(made.val_tar)),
        *("--devkit", str(made.devkit), "--md5sums", str(made.md5sums), "--to", str(to)),
    ]


def digests(root: Path) -> dict[str, str]:
    """Of every file, hidden ones and the listing included."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and path.name not in _REPORTS
    }


@pytest.mark.faults
def test_ten_kills_at_random_instants_leave_the_folder_that_none_would(tmp_path: Path) -> None:
    made = write_archives(tmp_path, classes=60, images_per_class=80, val_images=400)
    began = time.monotonic()
    subprocess.run(command(made, tmp_path / "undisturbed"), check=True)
    seconds = time.monotonic() - began - _STARTED
    draw = random.Random(0)
    killed = 0
    for _ in range(KILLS):
        process = subprocess.Popen(command(made, tmp_path / "killed"), start_new_session=True)
        # Each does a part of the work: the last ones shall still find some to do.
        time.sleep(_STARTED + draw.uniform(0, 1.5 * seconds / KILLS))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    subprocess.run(command(made, tmp_path / "killed"), check=True)
    assert killed == KILLS
    assert digests(tmp_path / "killed") == digests(tmp_path / "undisturbed")
