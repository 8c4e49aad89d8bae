"""`evaluate`: the evaluate stage on JPEGs, from files to counts: against its engine alone, and
against the same stage on stock MindSpore operators, which is MindCV's way.

All have the same threads and weights; the engine alone has its pixels in memory. The files were
just written, so they come from the page cache: the disk is not measured. Stock operators do so few
images a second that they get a part of them.
"""

from __future__ import annotations

import statistics
import tempfile
from importlib import util
from pathlib import Path

from benchmarks.images.photographs import write_photographs
from benchmarks.inference import write_seeded
from benchmarks.jobs.requests import EvaluationJob
from benchmarks.options import Options, Section, published_recipe, threads
from benchmarks.rounds import Case, ratios, run_rounds, say, speed_rows, speed_table, spread
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import MachineError
from mixnet_core.evaluate.job import BATCH
from mixnet_core.processes.requests import EvaluateRequest
from mixnet_core.recipe.recipe import Recipe

STOCK = "evaluate stage on stock MindSpore operators"
# Two batches: half a minute.
STOCK_IMAGES, STOCK_BATCH = 64, 32
BARE = "OpenVINO alone, pixels in memory"
WHOLE = "evaluate stage: read, decode, resize, crop, OpenVINO, count"


def measure(options: Options) -> Section:
    if util.find_spec("openvino") is None:
        raise MachineError(
            "the engine that evaluate measures is not installed: run `pip install openvino`"
        )
    size, rounds = options.image_size or 224, options.rounds or 5
    batch = options.global_batch or BATCH
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        what = write_photographs(folder / "photographs", options.images, options.photos)
        write_photographs(folder / "some", min(STOCK_IMAGES, options.images), options.photos)
        recipe = published_recipe(options.variant, size)
        write_seeded(recipe, folder)
        fast = _request(recipe, folder, "photographs", batch, {"engine": "openvino"})
        plain = {"engine": "mindspore", "operators": "plain"}
        stock = _request(recipe, folder, "some", min(batch, STOCK_BATCH), plain)
        module = "benchmarks.jobs.evaluation"
        cases = [
            Case(STOCK, STOCK, module, EvaluationJob(request=stock, bare=False)),
            Case(BARE, STOCK, module, EvaluationJob(request=fast, bare=True)),
            Case(WHOLE, BARE, module, EvaluationJob(request=fast, bare=False)),
        ]
        found = run_rounds(cases, rounds)
    speed = statistics.median(found[WHOLE].speeds)
    against = spread(ratios(found[WHOLE].speeds, found[STOCK].speeds))
    say(f"the stage against stock operators: {against}")
    say(f"50,000 such images at the median speed: {50_000 / speed / 60:.1f} min")
    return Section(
        title=f"Evaluation of {options.images:,} JPEGs ({what}), "
        f"MixNet-{options.variant.upper()}, {size} px, float32, batch {batch}, "
        f"{threads()} threads, {rounds} rounds; the first call's seconds are opening the engine "
        "and loading weights",
        table=speed_table(found),
        rows=speed_rows(found),
    )


def _request(
    recipe: Recipe, folder: Path, images: str, batch: int, devices: dict[str, str]
) -> EvaluateRequest:
    """Evaluating the photographs in `folder / images` on other devices' settings."""
    data = recipe.data.model_copy(
        update={"source": "image_folder", "path": str(folder / images), "layout": "links"}
    )
    changed = recipe.model_copy(
        update={"data": data, "devices": recipe.devices.model_copy(update=devices)}
    )
    place = folder / f"{images}-request"
    return EvaluateRequest(
        recipe=changed,
        dataset=prepare_dataset(data, folder / "datasets").root,
        split="val",
        weights=(str(folder / "weights.ckpt"),),
        classes=recipe.network.num_classes or 1000,
        batch=batch,
        threads=threads(),
        answers=str(place / "answers"),
        progress=str(place / "progress.jsonl"),
    )
