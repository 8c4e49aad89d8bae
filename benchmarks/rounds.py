"""Cases measured side by side in rounds, their ratios, and the table that both are printed in.

A round runs every case once, one after the other, each in a process of its own. A ratio is taken
between two cases of one round: a machine that slows down for a minute slows both.
"""

from __future__ import annotations

import math
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mixnet_core.processes.launch import run_job


class Measured(BaseModel):
    """What a case's process found out.

    Attributes:
        speed: images a second.
        first_seconds: of the first call, which compiles.
        peak_mb: the most memory the process has held, 10^6 bytes; rank 0's where there are several.
        logits: of the first image, where cases of one section must agree.
    """

    speed: float
    first_seconds: float
    peak_mb: float
    logits: list[float] | None = None


@dataclass(frozen=True)
class Case:
    """A stage module and what it is given.

    Attributes:
        base: name of the case that its ratio is against; its own name for the base itself.
        threads: CPU threads of each rank; 0: its share of the cores.
    """

    name: str
    base: str
    module: str
    request: BaseModel
    ranks: int = 1
    threads: int = 0


@dataclass
class Measurements:
    """A case's figures, one a round."""

    case: Case
    rounds: list[Measured] = field(default_factory=list)

    @property
    def speeds(self) -> list[float]:
        return [measured.speed for measured in self.rounds]


def peak_mb() -> float:
    """Of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def timed(call: Callable[[], object], *, least: int, seconds: float) -> list[float]:
    """Seconds of each call: at least `least` calls, and until `seconds` have passed."""
    began = time.perf_counter()
    taken: list[float] = []
    while len(taken) < least or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


def run_rounds(cases: Sequence[Case], rounds: int) -> dict[str, Measurements]:
    """Every case once a round, by name; a line is printed as each ends."""
    found = {case.name: Measurements(case) for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for case in cases:
                result = run_job(
                    case.module,
                    case.request,
                    attempts=Path(folder),
                    ranks=case.ranks,
                    threads=case.threads,
                )
                measured = Measured.model_validate(result)
                found[case.name].rounds.append(measured)
                say(f"round {number + 1}/{rounds}: {significant(measured.speed)} img/s {case.name}")
    return found


def say(line: str) -> None:
    # At once, also into a pipe: a section takes minutes.
    print(line, flush=True)


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Round by round; ValueError if one has more rounds."""
    return [value / one for value, one in zip(values, base, strict=True)]


def significant(value: float) -> str:
    """Three significant digits, without an exponent: 0.0123, 1.23, 12.3, 123, 1234."""
    # Rounded first: 0.9996 is 1.00 then.
    rounded = float(f"{value:.3g}")
    digits = 2 if rounded == 0 else 2 - math.floor(math.log10(abs(rounded)))
    return f"{value:.{max(0, digits)}f}"


def spread(values: Sequence[float]) -> str:
    """`median (min - max)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{significant(middle)} ({significant(low)} - {significant(high)})"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def speed_table(found: Mapping[str, Measurements]) -> str:
    """A row a case: speed, ratio, peak memory, first call."""
    rows = []
    for name, row in found.items():
        base = row.case.base
        against = "1" if base == name else spread(ratios(row.speeds, found[base].speeds))
        rows.append(
            [
                name,
                spread(row.speeds),
                against,
                "" if base == name else base,
                f"{statistics.median(m.peak_mb for m in row.rounds):.0f}",
                significant(statistics.median(m.first_seconds for m in row.rounds)),
            ]
        )
    header = ["case", "img/s, median (min - max)", "ratio", "against", "peak MB", "first call, s"]
    return markdown(header, rows)


def speed_rows(found: Mapping[str, Measurements]) -> list[dict[str, Any]]:
    """What `speed_table` shows, every round of it, as plain data."""
    return [
        {
            "case": name,
            "img_per_s": row.speeds,
            "base": row.case.base,
            "ratio": ratios(row.speeds, found[row.case.base].speeds),
            "median_ratio": statistics.median(ratios(row.speeds, found[row.case.base].speeds)),
            "peak_mb": [measured.peak_mb for measured in row.rounds],
            "first_seconds": [measured.first_seconds for measured in row.rounds],
        }
        for name, row in found.items()
    ]
