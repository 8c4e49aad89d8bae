"""`infer`: forward passes of one network with the same weights and pixels on every engine here.

PyTorch and onnxruntime (with the package onnx) take part where they are installed. The ratio is
against stock MindSpore operators at the same batch; at batch 1, where stock is not measured, at
batch 8.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib import util
from pathlib import Path

from benchmarks.jobs.requests import InferenceJob, SeededJob, TorchJob
from benchmarks.options import Options, Section, published_recipe, threads
from benchmarks.rounds import Case, Measurements, run_rounds, say, speed_rows, speed_table
from mixnet_core.errors import JobFailed
from mixnet_core.processes.launch import run_job
from mixnet_core.recipe.recipe import Recipe

BATCHES = (1, 8, 32)
STOCK_BATCHES = (8, 32)
# Of the largest logit: float32 in another order of adding.
TOLERANCE = 1e-3


def measure(options: Options) -> Section:
    size, rounds = options.image_size or 224, options.rounds or 5
    recipe = published_recipe(options.variant, size)
    batches = (options.global_batch,) if options.global_batch else BATCHES
    with tempfile.TemporaryDirectory() as folder:
        parameters = write_seeded(recipe, Path(folder))
        found = run_rounds(_cases(recipe, folder, batches), rounds)
    deviation = agreement(found)
    say(f"logits of all cases agree: at most {deviation:.0e} of the largest apart")
    return Section(
        title=f"Inference, MixNet-{options.variant.upper()}, {parameters:,} parameters, "
        f"{size} px, float32, {threads()} threads, {rounds} rounds; logits of all cases within "
        f"{deviation:.0e} of the largest",
        table=speed_table(found),
        rows=speed_rows(found),
    )


def write_seeded(recipe: Recipe, folder: Path) -> int:
    """Fills `folder` as `jobs.seeded_network` says; the number of learnable parameters."""
    job = SeededJob(recipe=recipe.model_dump(mode="json"), folder=str(folder))
    result = run_job("benchmarks.jobs.seeded_network", job, attempts=folder / "attempts")
    return int(result["parameters"])


def agreement(found: Mapping[str, Measurements]) -> float:
    """The largest difference between two cases' logits of the first image, over the largest logit.

    Raises:
        JobFailed: it exceeds TOLERANCE: what computes something else is not faster.
    """
    logits = {name: row.rounds[0].logits for name, row in found.items() if row.rounds[0].logits}
    first, *others = logits
    largest = max(map(abs, logits[first] or ()))
    worst = 0.0
    for name in others:
        pairs = zip(logits[first] or (), logits[name] or (), strict=True)
        apart = max(abs(a - b) for a, b in pairs) / largest
        # Written so that no number (NaN) is refused too.
        if not apart <= TOLERANCE:
            raise JobFailed(
                f"{name} gives logits {apart:.1e} of the largest away from those of {first}, "
                f"expected at most {TOLERANCE}: its speed says nothing, find out why",
                retryable=False,
            )
        worst = max(worst, apart)
    return worst


def _cases(recipe: Recipe, folder: str, batches: tuple[int, ...]) -> list[Case]:
    engines = [("native", "benchmarks.jobs.mindspore_engine")]
    if util.find_spec("onnxruntime") and util.find_spec("onnx"):
        engines.append(("onnxruntime", "benchmarks.jobs.onnxruntime_engine"))
    if util.find_spec("openvino"):
        engines.append(("OpenVINO", "benchmarks.jobs.openvino_engine"))
    plain = recipe.model_dump(mode="json")
    stock = [batch for batch in batches if batch in STOCK_BATCHES] or [batches[0]]
    cases = []
    for batch in batches:
        base = _name("stock", batch if batch in stock else stock[0])
        job = InferenceJob(recipe=plain, folder=folder, batch=batch, threads=threads())
        if batch in stock:
            cases.append(Case(base, base, "benchmarks.jobs.mindspore_engine", job))
        for engine, module in engines:
            request = job.model_copy(
                update={"operators": "native" if engine == "native" else "plain"}
            )
            cases.append(Case(_name(engine, batch), base, module, request))
        if util.find_spec("torch"):
            torch_job = TorchJob(
                variant=recipe.network.variant,
                image_size=recipe.input.image_size,
                batch=batch,
                threads=threads(),
                training=False,
                folder=folder,
                mean=recipe.input.mean,
                std=recipe.input.std,
                least=1,
                seconds=job.seconds,
            )
            name = _name("PyTorch, channels_last", batch)
            cases.append(Case(name, base, "benchmarks.jobs.torch_network", torch_job))
    return cases


def _name(engine: str, batch: int) -> str:
    return f"{engine}, batch {batch}"
