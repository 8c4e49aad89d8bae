"""A real training of the smallest kind, whose recipe keeps and draws all that one can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import JobFailed, Stopped
from mixnet_core.processes.launch import run_job
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.ticks import Tick, unwatched
from mixnet_core.runs.values import PreparedDataset, TrainedRun
from mixnet_core.stages import train as training
from mixnet_core.stages.context import open_context
from mixnet_core.stages.prepare import prepare
from mixnet_core.train.metrics import read_metrics
from tests.tiny import SETTINGS
from tests.train.killed import MARK_VARIABLE, STEP_VARIABLE

# Everything that keeps something from one step to the next, or draws something.
EVERYTHING: dict[str, Any] = SETTINGS | {
    "training.epochs": 2,
    "schedule.warmup_epochs": 0.5,
    "schedule.decay_epochs": 1.5,
    "training.checkpoint_every_steps": 2,
    "training.ema_decay": 0.9,
    "training.batch_statistics": "averaged",
    "training.chance_epochs": None,
    "network.drop_rate": 0.2,
    "network.drop_path_rate": 0.2,
    "augment.crop_scale": [0.3, 1.0],
    "augment.crop_ratio": [0.75, 1.333],
    "augment.hflip": 0.5,
    "augment.rand_augment": {
        "operations": 2,
        "magnitude": 9,
        "magnitude_std": 0.5,
        "increasing": True,
    },
    "augment.erasing": {"probability": 0.5, "scale": [0.02, 0.33], "ratio": [0.3, 3.3]},
    "augment.mix": {
        "mixup_alpha": 0.2,
        "cutmix_alpha": 1.0,
        "probability": 0.8,
        "switch_probability": 0.5,
    },
    "training.global_batch": 8,
    "training.log_every_steps": 3,
    "devices.ranks": 2,
    "devices.micro_batch": 2,
    "precision.loss_scale_type": "dynamic",
    "precision.loss_scale": 1024.0,
    "precision.drop_overflow_update": True,
    "optimizer.clip_norm": 1.0,
    # Scoring between the epochs must leave no trace in what is trained.
    "selection.score_in_training": "always",
}
STEPS = 12


class Job:
    """A folder with a recipe and its dataset; the dataset is shared."""

    def __init__(self, root: Path, recipe: Recipe, workspace: Workspace) -> None:
        self.root = root
        self.context = open_context(recipe, Workspace(root), run="r")
        self.run, self.recipe = self.context.run, self.context.recipe
        shared = replace(self.context, workspace=workspace)
        self.dataset: PreparedDataset = prepare(shared)

    def train(
        self,
        watch: Callable[[Tick], None] = unwatched,
        *,
        killed_after: int = -1,
        restarts: bool = True,
    ) -> TrainedRun:
        """Training whose rank 0 is killed once, after that step; -1: never.

        Raises:
            Stopped: it was killed, and is not to start again by itself.
        """
        environment = {
            STEP_VARIABLE: str(killed_after),
            MARK_VARIABLE: str(self.run.root / f"killed after {killed_after}"),
        }

        def killed_stage(_: str, *rest: Any, **options: Any) -> dict[str, Any]:
            options["env"] = {**(options["env"] or {}), **environment}
            # Always this module: MindSpore takes no graph that another script compiled.
            try:
                return run_job("tests.train.killed", *rest, **options)
            except JobFailed as error:
                if restarts:
                    raise
                raise Stopped(str(error)) from error

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "run_job", killed_stage)
            return training.train(self.context.watched_by(watch), self.dataset, None)


def rows(run: RunDir) -> list[dict[str, Any]]:
    """What was logged, without what depends on time or on the attempt."""
    apart = {"time", "seconds", "images_per_second", "path", "data_wait"}
    return [
        {key: value for key, value in row.items() if key not in apart}
        for row in read_metrics(run.metrics)
        if row["event"] in ("step", "epoch", "checkpoint")
    ]
