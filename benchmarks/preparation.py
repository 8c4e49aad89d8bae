"""`prepare`: `mixnet prepare imagenet` against plain extraction of the same archives.

Plain extraction is what people do by hand: tar for the outer archive, tar for each class's, which
is removed afterwards, tar for val, and a sync. Each case is a process of its own, into a folder of
its own; the archives are read once before, so they come from the page cache for all of them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.images.imagenet_archives import Archives, write_archives
from benchmarks.options import Options, Section
from benchmarks.rounds import markdown, ratios, say, significant, spread
from mixnet_core.errors import JobFailed

PLAIN = "tar and sync"
HEADERS = "mixnet prepare imagenet --no-decode"
DECODED = "mixnet prepare imagenet"

_CLASSES, _IMAGES, _VAL_IMAGES = 100, 210, 1000
_ROUNDS = 3
_CASE = Path(__file__).with_name("jobs") / "preparation_case.py"
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


class _Case(NamedTuple):
    seconds: float
    peak_mb: float
    images: int


def measure(options: Options) -> Section:
    with tempfile.TemporaryDirectory() as temporary:
        made = write_archives(
            Path(temporary), classes=_CLASSES, images_per_class=_IMAGES, val_images=_VAL_IMAGES
        )
        return measure_archives(made, options.rounds or _ROUNDS)


def measure_archives(made: Archives, rounds: int) -> Section:
    """Every case once a round, in a folder beside the archives.

    Raises:
        JobFailed: a case failed, or did not write every image.
    """
    found: dict[str, list[_Case]] = {PLAIN: [], HEADERS: [], DECODED: []}
    for number in range(rounds):
        for name, cases in found.items():
            cases.append(_run(name, made))
            say(f"round {number + 1}/{rounds}: {cases[-1].seconds:.1f} s {name}")
    images = {case.images for cases in found.values() for case in cases}
    if len(images) != 1:
        raise JobFailed(f"the cases wrote {images} images, expected equally many", retryable=False)
    size = made.train_tar.stat().st_size + made.val_tar.stat().st_size
    plain = [case.seconds for case in found[PLAIN]]
    table, rows = [], []
    for name, cases in found.items():
        seconds = [case.seconds for case in cases]
        against, peaks = ratios(seconds, plain), [case.peak_mb for case in cases]
        rows.append({"case": name, "seconds": seconds, "ratio": against, "peak_mb": peaks})
        table.append(
            [
                name,
                spread(seconds),
                significant(size / 1e6 / statistics.median(seconds)),
                "1" if name == PLAIN else spread(against),
                f"{max(peaks):.0f}",
            ]
        )
    return Section(
        title=f"Preparing {size / 1e9:.2f} GB of archives, {images.pop():,} JPEGs of "
        f"{len(made.wnids)} classes, from the page cache, a sync at the end, {rounds} rounds",
        table=markdown(["case", "s, median (min - max)", "MB/s", "against tar", "peak MB"], table),
        rows=rows,
    )


def _command(name: str, made: Archives) -> list[str]:
    if name == PLAIN:
        return ["sh", "-c", _TAR, "sh", str(made.train_tar), str(made.val_tar)]
    command = [sys.executable, "-m", "mixnet_core.cli.app", "prepare", "imagenet", "--to", "."]
    command += ["--train-tar", str(made.train_tar), "--val-tar", str(made.val_tar)]
    command += ["--devkit", str(made.devkit), "--md5sums", str(made.md5sums)]
    return [*command, "--subset", "--quiet", *(["--no-decode"] if name == HEADERS else [])]


def _run(name: str, made: Archives) -> _Case:
    for archive in (made.train_tar, made.val_tar):
        with archive.open("rb") as file:
            while file.read(1 << 24):
                pass
    with tempfile.TemporaryDirectory(dir=made.train_tar.parent) as target:
        os.sync()
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(_CASE), *_command(name, made)],
            cwd=target,
            stdout=subprocess.PIPE,
            check=True,
        )
        case = json.loads(done.stdout)
        if case["code"] != 0:
            raise JobFailed(f"{name} ended with {case['code']}", retryable=False)
        images = sum(1 for _ in Path(target).rglob("*.JPEG"))
    return _Case(case["seconds"], case["peak_mb"], images)
