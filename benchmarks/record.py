"""`docs/bench-record.csv`: what each day's `make bench` measured, by CPU and commit.

A day's later figures of a case take the place of the earlier ones, if CPU and commit are the same.
"""

from __future__ import annotations

import csv
import functools
import io
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import cpu_line
from benchmarks.rounds import significant
from mixnet_core.storage.files import write_text

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs" / "bench-record.csv"
HEADER = ("date", "cpu", "commit", "section", "case", "rounds", "img/s", "ratio", "against")
# What tells one row from another; the rest is measured.
_KEYS = len(("date", "cpu", "commit", "section", "case"))


def note(section: str, rows: Sequence[Mapping[str, Any]], record: Path = RECORD) -> int:
    """Adds the medians of a section's cases; does nothing outside a checkout.

    Args:
        rows: as `rounds.speed_rows`; those that are no speeds are left out.

    Returns:
        How many were added.
    """
    commit = _commit()
    speeds = [row for row in rows if "img_per_s" in row]
    if commit is None or not speeds:
        return 0
    before = (datetime.now(UTC).date().isoformat(), cpu_line(), commit, section)
    kept = {tuple(row[:_KEYS]): row for row in _read(record)}
    for row in speeds:
        figures = (
            str(len(row["img_per_s"])),
            significant(statistics.median(row["img_per_s"])),
            significant(row["median_ratio"]),
            row["base"],
        )
        kept[(*before, row["case"])] = [*before, row["case"], *figures]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *kept.values()])
    write_text(record, text.getvalue())
    return len(speeds)


def _read(record: Path) -> list[list[str]]:
    if not record.exists():
        return []
    with record.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


# Once: the record itself is a file that differs from then on.
@functools.cache
def _commit() -> str | None:
    """Returns the short commit, with + where files differ from it; None outside a checkout."""
    described = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
