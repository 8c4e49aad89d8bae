"""`evaluate`: the evaluate stage on JPEGs, from files to counts, against its engine alone.

Both have the same threads, batch and weights; the engine alone has its pixels in memory. The files
were just written, so they come from the page cache: the disk is not measured.
"""

from __future__ import annotations

import tempfile
from importlib import util
from pathlib import Path

from benchmarks.inference import write_seeded
from benchmarks.jobs import EvaluationJob
from benchmarks.options import Options, Section, published_recipe, threads
from benchmarks.photographs import write_photographs
from benchmarks.rounds import Case, run_rounds, speed_rows, speed_table
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import MachineError
from mixnet_core.recipe import save_recipe
from mixnet_core.stages import EVALUATION_BATCH
from mixnet_core.values import EvaluateRequest

BARE = "OpenVINO alone, pixels in memory"
WHOLE = "evaluate stage: read, decode, resize, crop, OpenVINO, count"


def measure(options: Options) -> Section:
    if util.find_spec("openvino") is None:
        raise MachineError(
            "the engine that evaluate measures is not installed: "
            "run `pip install 'mixnet[cpu-inference]'`"
        )
    size, rounds = options.image_size or 224, options.rounds or 5
    batch = options.global_batch or EVALUATION_BATCH
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        what = write_photographs(folder / "photographs", options.images, options.photos)
        recipe = published_recipe(options.variant, size)
        data = recipe.data.model_copy(
            update={"source": "image_folder", "path": str(folder / "photographs")}
        )
        devices = recipe.devices.model_copy(update={"engine": "openvino"})
        recipe = recipe.model_copy(update={"data": data, "devices": devices})
        save_recipe(recipe, folder / "recipe.yaml")
        dataset = prepare_dataset(data, folder / "datasets")
        write_seeded(recipe, folder)
        request = EvaluateRequest(
            recipe=str(folder / "recipe.yaml"),
            dataset=dataset.root,
            split="val",
            weights=(str(folder / "weights.ckpt"),),
            classes=recipe.network.num_classes or 1000,
            batch=batch,
            threads=threads(),
            progress=str(folder / "progress.jsonl"),
        )
        cases = [
            Case(name, BARE, "benchmarks.evaluation_stage", EvaluationJob(request=request, bare=b))
            for name, b in ((BARE, True), (WHOLE, False))
        ]
        found = run_rounds(cases, rounds)
    return Section(
        title=f"Evaluation of {options.images:,} JPEGs ({what}), "
        f"MixNet-{options.variant.upper()}, {size} px, float32, batch {batch}, "
        f"{threads()} threads, {rounds} rounds; the first call's seconds are opening the engine "
        "and loading weights",
        table=speed_table(found),
        rows=speed_rows(found),
    )
