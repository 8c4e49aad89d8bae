"""Run as a job: an epoch of training from JPEGs by the stages that `mixnet` runs."""

from __future__ import annotations

import resource
from pathlib import Path

from benchmarks.jobs.requests import MixnetEpochJob
from benchmarks.rounds import Measured
from mixnet_core.processes.child import main
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages.context import open_context
from mixnet_core.stages.prepare import prepare
from mixnet_core.stages.train import train
from mixnet_core.train.metrics import read_metrics


def measure(job: MixnetEpochJob) -> Measured:
    """Times an epoch from the end of its first step to its checkpoint, by the run's own metrics."""
    recipe = load_recipe(job.recipe)
    context = open_context(recipe, Workspace(Path(job.workspace)), run=job.run)
    train(context, prepare(context), None)
    rows = read_metrics(context.run.metrics)
    (start,) = (row for row in rows if row["event"] == "start")
    steps = [row for row in rows if row["event"] == "step"]
    (saved,) = (row for row in rows if row["event"] == "checkpoint")
    images = (len(steps) - 1) * recipe.training.global_batch
    return Measured(
        speed=images / (saved["time"] - steps[0]["time"]),
        first_seconds=steps[0]["time"] - start["time"],
        # Of the largest of the processes that it started.
        peak_mb=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6,
    )


if __name__ == "__main__":
    raise SystemExit(main(measure, MixnetEpochJob))
