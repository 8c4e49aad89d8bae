"""`upload`: a large file to an S3 store on this machine, against bare boto3.

The store is SeaweedFS, a fresh one for each case, which is a process of its own. boto3's
`upload_file` has its defaults but for the size of the parts, which is ours. Ours compares the
file's sha256 and what the store put together beside that.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.options import Options, Section
from benchmarks.rounds import markdown, ratios, say, significant, spread
from tests.object_store import running_store

BARE, OURS = "boto3's upload_file", "mixnet_core.storage"
_BYTES = 2_000_000_000
_ROUNDS = 3
_JOB = "benchmarks.jobs.upload_case"


class _Case(NamedTuple):
    seconds: float
    peak_mb: float
    seconds_of_cpu: float


def measure(options: Options, size: int = _BYTES) -> Section:
    """Every case once a round, in turns which is first.

    Args:
        size: of the file, in bytes.
    """
    rounds = options.rounds or _ROUNDS
    found: dict[str, list[_Case]] = {BARE: [], OURS: []}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "weights.ckpt"
        sha256 = _write(path, size)
        for number in range(rounds):
            for name in (BARE, OURS) if number % 2 == 0 else (OURS, BARE):
                found[name].append(_run(name, path, sha256))
                say(f"round {number + 1}/{rounds}: {found[name][-1].seconds:.1f} s {name}")
    bare = [case.seconds for case in found[BARE]]
    table, rows = [], []
    for name, cases in found.items():
        seconds = [case.seconds for case in cases]
        # Of speeds: more is better.
        against, peaks = ratios(bare, seconds), [case.peak_mb for case in cases]
        cpu = [case.seconds_of_cpu for case in cases]
        rows.append({"case": name, "seconds": seconds, "ratio": against, "peak_mb": peaks})
        table.append(
            [
                name,
                spread(seconds),
                significant(size / 1e6 / statistics.median(seconds)),
                "1" if name == BARE else spread(against),
                significant(statistics.median(cpu)),
                f"{max(peaks):.0f}",
            ]
        )
    header = ["case", "s, median (min - max)", "MB/s", "speed against boto3", "CPU, s", "peak MB"]
    return Section(
        title=f"Uploading {size / 1e9:.2f} GB to SeaweedFS on this machine, {rounds} rounds",
        table=markdown(header, table),
        rows=rows,
    )


def _write(path: Path, size: int) -> str:
    """Writes bytes that no store makes smaller; returns their hex sha256."""
    draw, digest = random.Random(0), hashlib.sha256()
    with path.open("wb") as file:
        while (left := size - file.tell()) > 0:
            piece = draw.randbytes(min(left, 1 << 24))
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()


def _run(name: str, path: Path, sha256: str) -> _Case:
    with (
        tempfile.TemporaryDirectory(dir=path.parent) as folder,
        running_store(Path(folder)) as store,
    ):
        # What earlier cases left to be written is no matter of this one.
        os.sync()
        which = "bare" if name == BARE else "ours"
        done = subprocess.run(
            [sys.executable, "-m", _JOB, which, str(path), sha256, store.bucket],
            env={**os.environ, **store.environment},
            stdout=subprocess.PIPE,
            check=True,
        )
    case = json.loads(done.stdout)
    return _Case(case["seconds"], case["peak_mb"], case["seconds_of_cpu"])
