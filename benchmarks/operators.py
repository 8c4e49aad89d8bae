"""`operators`: single layers of MixNet-S, M and L, native against stock operators.

Stock's gradients take seconds a layer even at a small batch: that is where the time of a stock
training step goes.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.jobs.requests import OperatorRow, OperatorsJob, OperatorsTiming
from benchmarks.options import Options, Section, threads
from benchmarks.rounds import markdown, ratios, say, significant, spread
from mixnet_core.errors import JobFailed
from mixnet_core.model.native.choice import Operators
from mixnet_core.model.variants import VARIANTS, VariantName, round_channels
from mixnet_core.processes.launch import run_job

OPERATORS: tuple[Operators, ...] = ("plain", "native")
# Rows that one process times: stock and native of them then follow each other within a minute.
AT_A_TIME = 12
SECONDS = 0.2

# Relative; sums of float32 of another order.
TOLERANCE = 1e-3

Timings = dict[Operators, list[OperatorsTiming]]


def measure(options: Options) -> Section:
    size, batch = options.image_size or 224, options.global_batch or 4
    return measure_rows(layer_rows(("s", "m", "l"), size), batch, options.rounds or 3)


def measure_rows(rows: Sequence[OperatorRow], batch: int, rounds: int) -> Section:
    """Both kinds of operators on each row, in rounds."""
    timings: Timings = {kind: [] for kind in OPERATORS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            found: Timings = {kind: [] for kind in OPERATORS}
            for start in range(0, len(rows), AT_A_TIME):
                part = list(rows[start : start + AT_A_TIME])
                for kind in OPERATORS:
                    job = OperatorsJob(rows=part, operators=kind, batch=batch, seconds=SECONDS)
                    result = run_job("benchmarks.jobs.operators", job, attempts=Path(folder))
                    found[kind].append(OperatorsTiming.model_validate(result))
                expect_equal(part, *(found[kind][-1] for kind in OPERATORS))
                say(
                    f"round {number + 1}/{rounds}: "
                    f"{min(start + AT_A_TIME, len(rows))} of {len(rows)} layers"
                )
            for kind in OPERATORS:
                timings[kind].append(_joined(found[kind]))
    plain_rows = [_row(row, i, timings) for i, row in enumerate(rows)]
    return Section(
        title=f"Single layers of MixNet-S, M and L, batch {batch}, float32, {threads()} threads, "
        f"{rounds} rounds; ms, and how many times faster native is than stock",
        table=_table(plain_rows),
        rows=plain_rows,
    )


def layer_rows(variants: Sequence[VariantName], image_size: int) -> list[OperatorRow]:
    """Stems and mixed depthwise convolutions that differ, and the norms after MixNet-S's."""
    stems, depthwise, norms = [], [], []
    for name in variants:
        variant = VARIANTS[name]
        channels = round_channels(variant.stem_channels * variant.width)
        stems.append(OperatorRow(layer="stem", channels=channels, plane=image_size, stride=2))
        plane = -(-image_size // 2)
        for block in variant.blocks:
            for repeat in range(block.repeats):
                inner, stride = channels * block.expansion, block.stride if repeat == 0 else 1
                depthwise.append(
                    OperatorRow(
                        layer="depthwise",
                        channels=inner,
                        plane=plane,
                        kernels=block.kernels,
                        stride=stride,
                    )
                )
                plane = -(-plane // stride)
                if name == variants[0]:
                    norms.append(
                        OperatorRow(
                            layer="norm",
                            channels=inner,
                            plane=plane,
                            activation=block.activation,
                        )
                    )
                channels = round_channels(block.out_channels * variant.width)
    return list({row.name: row for row in (*stems, *depthwise, *norms)}.values())


def expect_equal(
    rows: Sequence[OperatorRow], stock: OperatorsTiming, native: OperatorsTiming
) -> None:
    """Raises JobFailed if outputs or gradients differ: their times are then no comparison."""
    for i, row in enumerate(rows):
        same = stock.shapes[i] == native.shapes[i] and len(stock.sums[i]) == len(native.sums[i])
        if not same or not all(
            math.isclose(a, b, rel_tol=TOLERANCE)
            for a, b in zip(stock.sums[i], native.sums[i], strict=True)
        ):
            raise JobFailed(
                f"{row.name}: native gives {native.shapes[i]} with sums {native.sums[i]}, stock "
                f"{stock.shapes[i]} with {stock.sums[i]}, expected equal ones: run "
                "tests/model/native",
                retryable=False,
            )


def _joined(parts: Sequence[OperatorsTiming]) -> OperatorsTiming:
    return OperatorsTiming(
        forward=[ms for part in parts for ms in part.forward],
        both=[ms for part in parts for ms in part.both],
        shapes=[shape for part in parts for shape in part.shapes],
        sums=[sums for part in parts for sums in part.sums],
        peak_mb=max(part.peak_mb for part in parts),
    )


def _row(row: OperatorRow, i: int, timings: Timings) -> dict[str, Any]:
    """Every round's figures of the i-th row, as plain data."""
    found: dict[str, Any] = {"layer": row.layer, "name": row.name}
    found["output"] = timings["native"][0].shapes[i]
    for what in ("forward", "both"):
        stock, native = (
            [getattr(timing, what)[i] for timing in timings[kind]] for kind in OPERATORS
        )
        found[what] = {"stock_ms": stock, "native_ms": native, "ratio": ratios(stock, native)}
    return found


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        line = [row["name"]]
        for what in ("forward", "both"):
            figures = row[what]
            line += [
                significant(statistics.median(figures["stock_ms"])),
                significant(statistics.median(figures["native_ms"])),
                spread(figures["ratio"]),
            ]
        lines.append(line)
    for layer in dict.fromkeys(row["layer"] for row in rows):
        line = [f"geometric mean, {layer}"]
        for what in ("forward", "both"):
            middles = [
                statistics.median(row[what]["ratio"]) for row in rows if row["layer"] == layer
            ]
            line += ["", "", significant(statistics.geometric_mean(middles))]
        lines.append(line)
    header = ["layer", "forward: stock", "native", "ratio"]
    return markdown([*header, "forward + backward: stock", "native", "ratio"], lines)
