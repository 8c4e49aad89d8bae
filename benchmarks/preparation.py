"""`prepare`: `mixnet prepare imagenet` against plain extraction of the same archives.

Plain extraction is what people do by hand: tar for the outer archive, tar for each class's, which
is removed afterwards, tar for val, and a sync. Each case is a process of its own, into a folder of
its own; the archives are read once before, so they come from the page cache for all of them.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.imagenet_archives import Archives, write_archives
from benchmarks.options import Options, Section
from benchmarks.rounds import markdown, ratios, say, significant, spread

PLAIN = "tar and sync"
HEADERS = "mixnet prepare imagenet --no-decode"
DECODED = "mixnet prepare imagenet"

_CLASSES, _IMAGES, _VAL_IMAGES = 100, 210, 1000
_ROUNDS = 3
_TAR = """
set -e
mkdir train val
tar -xf "$1" -C train
for tar in train/*.tar; do
  mkdir "${tar%.tar}"
  tar -xf "$tar" -C "${tar%.tar}"
  rm "$tar"
done
tar -xf "$2" -C val
sync
"""


def measure(options: Options) -> Section:
    rounds = options.rounds or _ROUNDS
    seconds: dict[str, list[float]] = {PLAIN: [], HEADERS: [], DECODED: []}
    peaks: dict[str, list[float]] = {name: [] for name in seconds}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = write_archives(
            folder, classes=_CLASSES, images_per_class=_IMAGES, val_images=_VAL_IMAGES
        )
        size = made.train_tar.stat().st_size + made.val_tar.stat().st_size
        for number in range(rounds):
            for name in seconds:
                taken, peak = _timed(_command(name, made), folder / "out", made)
                seconds[name].append(taken)
                peaks[name].append(peak)
                say(f"round {number + 1}/{rounds}: {taken:.1f} s {name}")
    rows: list[dict[str, Any]] = [
        {
            "case": name,
            "seconds": taken,
            "ratio": ratios(taken, seconds[PLAIN]),
            "peak_mb": peaks[name],
        }
        for name, taken in seconds.items()
    ]
    return Section(
        title=f"Preparing {size / 1e9:.2f} GB of archives, {_CLASSES * _IMAGES:,} + "
        f"{_VAL_IMAGES:,} JPEGs of {_CLASSES} classes, from the page cache, a sync at the end, "
        f"{rounds} rounds",
        table=markdown(
            ["case", "s, median (min - max)", "MB/s", "against tar", "peak MB"],
            [
                [
                    row["case"],
                    spread(row["seconds"]),
                    significant(size / 1e6 / statistics.median(row["seconds"])),
                    "1" if row["case"] == PLAIN else spread(row["ratio"]),
                    f"{max(row['peak_mb']):.0f}",
                ]
                for row in rows
            ],
        ),
        rows=rows,
    )


def _command(name: str, made: Archives) -> list[str]:
    if name == PLAIN:
        return ["sh", "-c", _TAR, "sh", str(made.train_tar), str(made.val_tar)]
    command = [sys.executable, "-m", "mixnet_core.cli", "prepare", "imagenet", "--to", "."]
    command += ["--train-tar", str(made.train_tar), "--val-tar", str(made.val_tar)]
    command += ["--devkit", str(made.devkit), "--md5sums", str(made.md5sums)]
    return [*command, "--subset", "--quiet", *(["--no-decode"] if name == HEADERS else [])]


def _timed(command: list[str], target: Path, made: Archives) -> tuple[float, float]:
    """Seconds, and the peak memory in 10^6 bytes of the largest of its processes."""
    target.mkdir()
    for archive in (made.train_tar, made.val_tar):
        with archive.open("rb") as file:
            while file.read(1 << 24):
                pass
    os.sync()
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=target)
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - began
    # The process is reaped: Popen must not wait for it.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    shutil.rmtree(target)
    return taken, usage.ru_maxrss * 1024 / 1e6
