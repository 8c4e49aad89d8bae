"""`virtual`: what it costs that any number of processes trains the same bits.

Each case with virtual ranks is against as many processes without them, which train as fast as it
goes: their sums are cut among the threads of all cores.
"""

from __future__ import annotations

from typing import Any

from benchmarks.jobs.requests import StepJob
from benchmarks.options import Options, Section
from benchmarks.rounds import Case, run_rounds, speed_rows, speed_table
from mixnet_core.model.native.choice import choose_operators
from mixnet_core.recipe.recipe import load_recipe

PLAIN = {1: "1 rank", 2: "2 ranks"}
# Ranks, virtual ranks, threads of each rank; 0: one.
VIRTUAL = ((1, 2, 0), (1, 2, 2), (1, 4, 0), (2, 2, 0), (2, 4, 0))
STEPS = 10


def measure(options: Options) -> Section:
    size, batch = options.image_size or 64, options.global_batch or 32
    rounds = options.rounds or 3
    common: dict[str, Any] = {
        "network.variant": options.variant,
        "training.global_batch": batch,
        "input.image_size": size,
    }
    operators = choose_operators("auto", target="CPU")

    def case(name: str, ranks: int, virtual: int | None = None, threads: int = 0) -> Case:
        overrides = {
            "devices.ranks": ranks,
            "devices.threads_per_rank": threads,
            "training.virtual_ranks": virtual,
        }
        recipe = load_recipe("digits", common | overrides)
        job = StepJob(recipe=recipe.model_dump(mode="json"), operators=operators, steps=STEPS)
        fixed = recipe.fixed_threads or 0
        return Case(name, PLAIN[ranks], "benchmarks.jobs.step", job, ranks=ranks, threads=fixed)

    cases = [case(name, ranks) for ranks, name in PLAIN.items()]
    for ranks, virtual, threads in VIRTUAL:
        said = f"{threads or 1} thread{'s' if threads > 1 else ''} each"
        cases.append(case(f"{PLAIN[ranks]}, {virtual} virtual, {said}", ranks, virtual, threads))
    found = run_rounds(cases, rounds)
    return Section(
        title=f"Virtual ranks, MixNet-{options.variant.upper()}, {size} px, stem stride 1, global "
        f"batch {batch}, {operators} operators, {rounds} rounds of {STEPS} steps; memory of rank 0",
        table=speed_table(found),
        rows=speed_rows(found),
    )
