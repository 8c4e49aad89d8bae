"""Run as a stage: times inference of the evaluate stage's OpenVINO engine, pixels in memory.

Unlike the others it is given uint8 pixels, and normalises them itself. Passes overlap, as in
evaluation: its speed is that of a queue that never empties.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.images.seeded_images import pixels
from benchmarks.jobs.pixels_in_memory import PixelsInMemory
from benchmarks.jobs.requests import InferenceJob
from benchmarks.rounds import Measured, peak_mb, timed
from mixnet_core.processes.child import main
from mixnet_core.recipe.recipe import parse_recipe

# Images of one batch given to the engine, which cuts it into passes.
QUEUE = 64


def infer(job: InferenceJob) -> Measured:
    recipe = parse_recipe(job.recipe, "benchmark")
    images = pixels(max(QUEUE, job.batch), recipe.input.image_size)
    engine = PixelsInMemory(recipe, [images], threads=job.threads, images_per_pass=job.batch)
    (first,) = timed(lambda: engine.load(Path(job.folder) / "weights.ckpt"), least=1, seconds=0)
    speed = engine.images_per_second(job.seconds)
    return Measured(
        speed=speed, first_seconds=first, peak_mb=peak_mb(), logits=engine.first_logits.tolist()
    )


if __name__ == "__main__":
    raise SystemExit(main(infer, InferenceJob))
