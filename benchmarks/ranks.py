"""`ranks`: training steps on one and two processes, and what averaging gradients costs them.

16 px images, as of the `digits` recipe, where the averaging weighs most.
"""

from __future__ import annotations

from typing import Any

from benchmarks.jobs.requests import Averaging, StepJob
from benchmarks.options import Options, Section
from benchmarks.rounds import Case, run_rounds, speed_rows, speed_table
from mixnet_core.model.native.choice import choose_operators
from mixnet_core.recipe.recipe import load_recipe

BASE = "1 rank"
CASES: dict[str, tuple[int, Averaging]] = {
    BASE: (1, "joined"),
    "2 ranks, one AllReduce of all gradients": (2, "joined"),
    "2 ranks, one AllReduce a tensor": (2, "one a tensor"),
}
STEPS = 20


def measure(options: Options) -> Section:
    size, batch = options.image_size or 16, options.global_batch or 32
    rounds = options.rounds or 3
    overrides: dict[str, Any] = {
        "network.variant": options.variant,
        "training.global_batch": batch,
        "input.image_size": size,
    }
    operators = choose_operators("auto", target="CPU")
    cases = []
    for name, (count, averaging) in CASES.items():
        recipe = load_recipe("digits", overrides | {"devices.ranks": count})
        job = StepJob(
            recipe=recipe.model_dump(mode="json"),
            operators=operators,
            averaging=averaging,
            steps=STEPS,
        )
        cases.append(Case(name, BASE, "benchmarks.jobs.step", job, ranks=count))
    found = run_rounds(cases, rounds)
    return Section(
        title=f"Ranks, MixNet-{options.variant.upper()}, {size} px, stem stride 1, global batch "
        f"{batch}, {operators} operators, {rounds} rounds of {STEPS} steps; "
        f"ratios against {BASE}; memory of rank 0",
        table=speed_table(found),
        rows=speed_rows(found),
    )
