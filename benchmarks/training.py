"""`train`: optimizer steps on stock and on native operators, and on PyTorch where it is installed.

Stock takes 20 s a step at 224 px: it gets one timed step a round, after the first, which compiles.
"""

from __future__ import annotations

from importlib import util

from benchmarks.jobs.requests import StepJob, TorchJob
from benchmarks.options import Options, Section, published_recipe, threads
from benchmarks.rounds import Case, run_rounds, speed_rows, speed_table

STOCK, NATIVE, TORCH = "stock", "native", "PyTorch, channels_last"
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
        cases.append(Case(TORCH, STOCK, "benchmarks.jobs.torch_network", job))
    found = run_rounds(cases, rounds)
    return Section(
        title=f"Training step, MixNet-{options.variant.upper()}, {size} px, batch {batch}, "
        f"float32, {rounds} rounds; ratios against stock MindSpore operators",
        table=speed_table(found),
        rows=speed_rows(found),
    )
