"""`epoch`: a whole training epoch from JPEGs, beside a PyTorch script where PyTorch is installed.

What a user feels: reading, decoding, augmenting, steps whose loss is read, the checkpoint at the
end. Compiling and whatever comes before the end of the first step is the first call's. The files
were just written, so they come from the page cache.
"""

from __future__ import annotations

import tempfile
import uuid
from importlib import util
from pathlib import Path

from benchmarks.images.photographs import write_photographs
from benchmarks.jobs.requests import MixnetEpochJob, TorchEpochJob
from benchmarks.options import Options, Section, threads
from benchmarks.rounds import Case, Measurements, run_rounds, speed_rows, speed_table
from mixnet_core.recipe.recipe import Recipe, load_recipe, save_recipe

OURS = "mixnet train"
TORCH = {"PyTorch and its DataLoader": False, "PyTorch, compiled, and its DataLoader": True}


def measure(options: Options) -> Section:
    size, batch = options.image_size or 224, options.global_batch or 32
    rounds = options.rounds or 3
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        what = write_photographs(folder / "photographs", options.images, options.photos)
        # Theirs is the larger split for evaluation.
        (folder / "photographs" / "train").rename(folder / "few")
        (folder / "photographs" / "val").rename(folder / "photographs" / "train")
        (folder / "few").rename(folder / "photographs" / "val")
        recipe = _recipe(options, folder / "photographs", size=size, batch=batch)
        found: dict[str, Measurements] = {}
        for _ in range(rounds):
            # Each a run of its own: what is trained is trained no more.
            for name, measured in run_rounds(_cases(options, recipe, folder), 1).items():
                found.setdefault(name, Measurements(measured.case)).rounds.extend(measured.rounds)
    return Section(
        title=f"An epoch of {options.images:,} JPEGs ({what}), MixNet-{options.variant.upper()}, "
        f"{size} px, batch {batch}, random crops, float32, {rounds} rounds; the first call's "
        "seconds are those until the first step's end",
        table=speed_table(found),
        rows=speed_rows(found),
    )


def _cases(options: Options, recipe: Recipe, folder: Path) -> list[Case]:
    run = uuid.uuid4().hex[:8]
    save_recipe(recipe, folder / "recipe.yaml")
    ours = MixnetEpochJob(
        recipe=str(folder / "recipe.yaml"), workspace=str(folder / "workspace"), run=run
    )
    cases = [Case(OURS, OURS, "benchmarks.jobs.mixnet_epoch", ours)]
    if util.find_spec("torch"):
        theirs = TorchEpochJob(
            variant=options.variant,
            images=str(folder / "photographs" / "train"),
            folder=str(folder),
            image_size=recipe.input.image_size,
            batch=recipe.training.global_batch,
            threads=threads(),
            workers=threads(),
            mean=recipe.input.mean,
            std=recipe.input.std,
        )
        for name, compiled in TORCH.items():
            job = theirs.model_copy(update={"compiled": compiled})
            cases.append(Case(name, OURS, "benchmarks.jobs.torch_epoch", job))
    return cases


def _recipe(options: Options, images: Path, *, size: int, batch: int) -> Recipe:
    return load_recipe(
        f"mixnet_{options.variant}",
        {
            "network.num_classes": 2,
            "data.source": "image_folder",
            "data.path": str(images),
            "input.image_size": size,
            "augment.rand_augment": None,
            "augment.erasing": None,
            "training.global_batch": batch,
            "training.epochs": 1,
            "training.log_every_steps": 1,
            "schedule.warmup_epochs": 0,
            "precision.amp_level": "O0",
            "devices.target": "CPU",
            "devices.ranks": 1,
            "devices.micro_batch": batch,
            "selection.score_in_training": "never",
        },
    )
