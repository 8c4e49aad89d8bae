"""`make bench`: training throughput on this machine's CPU, side by side.

Every case is a process (or two under msrun) of its own, one after the other, in rounds; a case's
figure is the median of its rounds' medians, its ratio is taken within each round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.step_stage import Averaging, Job, Timing
from mixnet_core.launch import run_stage

CASES: dict[str, tuple[int, Averaging]] = {
    "1 rank": (1, "joined"),
    "2 ranks, one AllReduce of all gradients": (2, "joined"),
    "2 ranks, one AllReduce a tensor": (2, "one a tensor"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="timed steps a process")
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--global-batch", type=int, default=32)
    options = parser.parse_args()
    rows: dict[str, list[float]] = {name: [] for name in CASES}
    first: dict[str, list[float]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for name, (ranks, averaging) in CASES.items():
                job = Job(
                    ranks=ranks,
                    averaging=averaging,
                    steps=options.steps,
                    image_size=options.image_size,
                    global_batch=options.global_batch,
                )
                result = run_stage("benchmarks.step_stage", job, attempts=Path(folder), ranks=ranks)
                timing = Timing.model_validate(result)
                rows[name].append(options.global_batch / statistics.median(timing.steps))
                first[name].append(timing.first)
                print(f"round {number + 1}: {rows[name][-1]:6.1f} img/s  {name}", flush=True)
    base = rows["1 rank"]
    print(
        f"\nMixNet-S, {options.image_size} px, stem stride 1, global batch {options.global_batch}, "
        f"{os.cpu_count()} cores, {options.rounds} rounds of {options.steps} steps\n\n"
        "| case | img/s, median (min - max) | against 1 rank | first step, s |\n|---|---|---|---|"
    )
    for name, speeds in rows.items():
        ratio = statistics.median(speed / one for speed, one in zip(speeds, base, strict=True))
        print(
            f"| {name} | {statistics.median(speeds):.0f} ({min(speeds):.0f} - {max(speeds):.0f}) | "
            f"{ratio:.2f} | {statistics.median(first[name]):.0f} |"
        )


if __name__ == "__main__":
    main()
