"""`train`: optimizer steps on stock and on native operators, and on PyTorch where it is installed.

Stock takes 20 s a step at 224 px: it gets one timed step a round, after the first, which compiles.
PyTorch is measured as it is, compiled, in bfloat16 by its autocast, and in both; what this project
is held to is the best of these rows.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict
from importlib import util

from benchmarks.jobs.requests import StepJob, TorchJob
from benchmarks.options import Options, Section, published_recipe, threads
from benchmarks.roofline import probe
from benchmarks.rounds import (
    Case,
    Measurements,
    ratios,
    run_rounds,
    speed_rows,
    speed_table,
    spread,
)
from benchmarks.work import work

STOCK, NATIVE = "stock", "native"
# Name -> compiled, autocast.
TORCH = {
    "PyTorch": (False, False),
    "PyTorch, compiled": (True, False),
    "PyTorch, bf16 autocast": (False, True),
    "PyTorch, compiled, bf16 autocast": (True, True),
}
STOCK_STEPS, FAST_STEPS = 1, 6


def measure(options: Options) -> Section:
    size, batch = options.image_size or 224, options.global_batch or 32
    rounds = options.rounds or 5
    whole = published_recipe(options.variant, size)
    recipe = whole.model_dump(mode="json")
    recipe["training"]["global_batch"] = batch
    cases = [
        Case(
            STOCK,
            STOCK,
            "benchmarks.jobs.step",
            StepJob(recipe=recipe, operators="plain", steps=STOCK_STEPS),
        ),
        Case(
            NATIVE,
            STOCK,
            "benchmarks.jobs.step",
            StepJob(recipe=recipe, operators="native", steps=FAST_STEPS),
        ),
    ]
    if util.find_spec("torch"):
        job = TorchJob(
            variant=options.variant,
            image_size=size,
            batch=batch,
            threads=threads(),
            training=True,
            mean=whole.input.mean,
            std=whole.input.std,
            least=FAST_STEPS,
            seconds=0,
        )
        for name, (compiled, autocast) in TORCH.items():
            way = job.model_copy(update={"compiled": compiled, "autocast": autocast})
            cases.append(Case(name, STOCK, "benchmarks.jobs.torch_network", way))
    roofline = probe()
    found = run_rounds(cases, rounds)
    native = statistics.median(found[NATIVE].speeds)
    lines = [roofline.line(NATIVE, native, work(options.variant, size)), *_against_torch(found)]
    return Section(
        title=f"Training step, MixNet-{options.variant.upper()}, {size} px, batch {batch}, "
        f"float32, {rounds} rounds; ratios against stock MindSpore operators",
        table="\n".join([speed_table(found), "", *lines]),
        rows=[*speed_rows(found), asdict(roofline)],
    )


def _against_torch(found: Mapping[str, Measurements]) -> list[str]:
    """Returns a line on the ratio to PyTorch's best row of each precision, where there are any."""
    lines = []
    for precision, among in (("float32", False), ("bf16", True)):
        names = [name for name, (_, autocast) in TORCH.items() if autocast == among]
        there = [found[name] for name in names if name in found]
        if there:
            best = max(there, key=lambda row: statistics.median(row.speeds))
            ratio = spread(ratios(found[NATIVE].speeds, best.speeds))
            lines.append(
                f"native, float32, against {best.case.name}, the best {precision}: {ratio}"
            )
    return lines
