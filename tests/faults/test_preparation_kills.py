"""Unpacking ImageNet's archives, killed again and again: what is left at the end is the same."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.images.imagenet_archives import Archives, write_archives
from mixnet_core.data.imagenet.records import WORK_FOLDER
from mixnet_core.storage.files import ASIDE_PREFIX

KILLS = 10
# How long it takes is told by the clock.
_REPORTS = ("report.md", "report.json")
_POLL_SECONDS = 0.002
_MOST_SECONDS = 120.0
# About as long as a part takes: anywhere within one, and after the last one within the listing.
_MOST_DELAY = 0.1
_MOST_FOLDERS = 5


def start(made: Archives, to: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "mixnet_core.cli.app", "prepare", "imagenet"),
            *("--subset", "--quiet", "--devkit", str(made.devkit), "--md5sums", str(made.md5sums)),
            *("--train-tar", str(made.train_tar), "--val-tar", str(made.val_tar)),
            *("--to", str(to)),
        ]
    )


def to_the_end(made: Archives, to: Path) -> int:
    """How many records it made on the way, all of which are removed at the end."""
    parts = 0
    with start(made, to) as process:
        while process.poll() is None:
            parts = max(parts, recorded(to))
            time.sleep(_POLL_SECONDS)
    assert process.returncode == 0
    return parts


def recorded(to: Path) -> int:
    try:
        return sum(1 for _ in to.glob(f"{WORK_FOLDER}/*/*.json"))
    except FileNotFoundError:
        # A folder that was removed while it was looked through.
        return 0


def left_in(root: Path) -> dict[str, str]:
    """Digest of every file, hidden ones and the listing included; folders have none."""
    return {
        str(path.relative_to(root)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        )
        for path in root.rglob("*")
        if path.name not in _REPORTS
    }


def killed(made: Archives, to: Path, records: float, delay: float) -> bool:
    """One start, and a SIGKILL `delay` seconds after so many records; False: it ended before."""
    with start(made, to) as process:
        deadline = time.monotonic() + _MOST_SECONDS
        while process.poll() is None and recorded(to) < records:
            assert time.monotonic() < deadline
            time.sleep(_POLL_SECONDS)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    assert process.returncode == 0
    return False


def expect_the_same_end(kills: int, made: Archives, folder: Path) -> None:
    """Kills so often, each time further on; then it is let go to its end.

    Instants are chosen by the work that is done and not by the time: start-up and a busy disk take
    any share of that, and as every start goes on with the last one's work, time soon passes its
    end. Where it ended before it could be killed, the rest of the kills is for another folder.
    """
    parts = to_the_end(made, folder / "undisturbed")
    expected = left_in(folder / "undisturbed")
    assert not [name for name in expected if WORK_FOLDER in name or ASIDE_PREFIX in name]
    draw = random.Random(0)
    instants = [(i + draw.random()) / kills * parts for i in range(kills)]
    for number in range(_MOST_FOLDERS):
        to = folder / f"killed-{number}"
        while instants and killed(made, to, instants[0], draw.uniform(0, _MOST_DELAY)):
            del instants[0]
        to_the_end(made, to)
        assert left_in(to) == expected
        if not instants:
            return
    pytest.fail(f"it ended before it could be killed, {len(instants)} times of {kills}")


def test_two_kills_leave_the_folder_that_none_would(tmp_path: Path) -> None:
    made = write_archives(
        tmp_path / "archives", classes=30, images_per_class=30, val_images=100, side=48
    )
    expect_the_same_end(2, made, tmp_path)


@pytest.mark.faults
def test_ten_kills_at_random_instants_leave_the_folder_that_none_would(tmp_path: Path) -> None:
    made = write_archives(tmp_path / "archives", classes=60, images_per_class=80, val_images=400)
    expect_the_same_end(KILLS, made, tmp_path)
