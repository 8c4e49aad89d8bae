"""`input`: training's and evaluation's images, from JPEG files to batches, with equal threads.

MindCV's way is written with the operators that it uses, in its order: decode and crop in one native
operator, RandAugment called from Python. Where MindCV itself is installed, its own transforms run
too. Decoding alone is what no pipeline can be faster than. The files were just written, so they
come from the page cache: the disk is not measured.
"""

from __future__ import annotations

import tempfile
from importlib import util
from pathlib import Path

from benchmarks.images.photographs import write_photographs
from benchmarks.jobs.requests import InputCase, InputJob
from benchmarks.options import Options, Section, threads
from benchmarks.rounds import Case, run_rounds, speed_rows, speed_table
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.recipe.recipe import load_recipe, save_recipe

TRAINING = "training, MindCV's way"
PLAIN = "training without RandAugment and erasing, MindCV's way"
EVALUATION = "evaluation, MindCV's way"
DECODING = "decoding alone, Pillow in threads"

# Name of a case: what it is measured against, what it runs.
CASES: dict[str, tuple[str, InputCase]] = {
    TRAINING: (TRAINING, "mindcv training"),
    "training, MindCV's way in worker processes": (TRAINING, "mindcv training in processes"),
    "training, MindCV itself": (TRAINING, "mindcv itself"),
    "training, ours": (TRAINING, "training"),
    PLAIN: (PLAIN, "mindcv plain training"),
    "training without RandAugment and erasing, ours": (PLAIN, "plain training"),
    EVALUATION: (EVALUATION, "mindcv evaluation"),
    "evaluation, ours": (EVALUATION, "evaluation"),
    "evaluation, ours, pixels for an engine that normalises": (EVALUATION, "evaluation pixels"),
    DECODING: (DECODING, "decoding, Pillow"),
    "decoding alone, OpenCV in threads": (DECODING, "decoding, OpenCV"),
    "decoding alone, mindspore.dataset": (DECODING, "decoding, mindspore.dataset"),
}


def measure(options: Options) -> Section:
    batch, rounds = options.global_batch or 128, options.rounds or 5
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        what = write_photographs(folder / "photographs", options.images, options.photos)
        changes = {
            "data.source": "image_folder",
            "data.path": str(folder / "photographs"),
            "input.image_size": options.image_size or 224,
            "devices.target": "CPU",
            "devices.ranks": 1,
            "devices.micro_batch": batch,
            "training.global_batch": batch,
        }
        recipe = load_recipe(f"mixnet_{options.variant}", changes)
        save_recipe(recipe, folder / "recipe.yaml")
        dataset = prepare_dataset(recipe.data, folder / "datasets")
        cases = [
            Case(
                name,
                base,
                "benchmarks.jobs.input",
                InputJob(
                    case=case,
                    recipe=str(folder / "recipe.yaml"),
                    dataset=dataset.root,
                    threads=threads(),
                ),
            )
            for name, (base, case) in CASES.items()
            if case != "mindcv itself" or util.find_spec("mindcv") is not None
        ]
        found = run_rounds(cases, rounds)
    return Section(
        title=f"Input of {options.images:,} JPEGs ({what}) as recipe {recipe.name} augments them, "
        f"{recipe.input.image_size} px, batch {batch}, {threads()} threads, {rounds} rounds; the "
        "first call's seconds are those until the first batch",
        table=speed_table(found),
        rows=speed_rows(found),
    )
