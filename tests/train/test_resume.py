"""A run that was interrupted and resumed is the run that never stopped, bit for bit."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.checkpoints.bundle import AVERAGES, OPTIMIZER, WEIGHTS, read_contents
from mixnet_core.processes.launch import run_job
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.ticks import Tick, unwatched
from mixnet_core.runs.values import PreparedDataset, TrainedRun
from mixnet_core.stages import train as training
from mixnet_core.stages.context import open_context
from mixnet_core.stages.prepare import prepare
from mixnet_core.stages.select import select
from mixnet_core.storage.files import ASIDE_PREFIX
from mixnet_core.train.metrics import read_metrics
from tests.tiny import SETTINGS
from tests.train.killed import MARK_VARIABLE, STEP_VARIABLE

pytestmark = pytest.mark.long

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
FILES = (WEIGHTS, AVERAGES, OPTIMIZER)


class Job:
    """A folder with a recipe and its dataset; the dataset is shared."""

    def __init__(self, root: Path, recipe: Recipe, workspace: Workspace) -> None:
        self.root = root
        self.context = open_context(recipe, Workspace(root), run="r")
        self.run, self.recipe = self.context.run, self.context.recipe
        shared = replace(self.context, workspace=workspace)
        self.dataset: PreparedDataset = prepare(shared)

    def train(
        self, watch: Callable[[Tick], None] = unwatched, *, killed_after: int = -1
    ) -> TrainedRun:
        """Training whose rank 0 is killed once, after that step; -1: never."""
        environment = {
            STEP_VARIABLE: str(killed_after),
            MARK_VARIABLE: str(self.run.root / "killed"),
        }

        def killed_stage(_: str, *rest: Any, **options: Any) -> dict[str, Any]:
            # Always this module: MindSpore takes no graph that another script compiled.
            return run_job("tests.train.killed", *rest, **options, env=environment)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "run_job", killed_stage)
            return training.train(self.context.watched_by(watch), self.dataset, None)


def digests(run: RunDir, step: int) -> dict[str, str]:
    bundle = run.checkpoints / f"step-{step:08d}"
    return {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in FILES}


def rows(run: RunDir) -> list[dict[str, Any]]:
    """What was logged, without what depends on time or on the attempt."""
    apart = {"time", "seconds", "images_per_second", "path"}
    return [
        {key: value for key, value in row.items() if key not in apart}
        for row in read_metrics(run.metrics)
        if row["event"] in ("step", "epoch", "checkpoint")
    ]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, workspace: Workspace) -> Job:
    """A run that never stopped, on two ranks."""
    job = Job(tmp_path_factory.mktemp("whole"), load_recipe("digits", EVERYTHING), workspace)
    done = job.train()
    assert (done.steps, done.resumed_from_step) == (STEPS, 0)
    return job


@pytest.fixture
def begun(tmp_path: Path, whole: Job, workspace: Workspace) -> Job:
    """Another one of the same recipe, with the graphs of the first to save time."""
    job = Job(tmp_path, whole.recipe, workspace)
    shutil.copytree(whole.run.graphs, job.run.graphs)
    return job


# An epoch has six steps, and every second one is saved: after 3 it goes on within the first epoch
# and a half-filled row of metrics, after 6 the epoch had ended but was not saved.
@pytest.mark.slow
@pytest.mark.parametrize(("killed_after", "resumed_from"), [(3, 2), (6, 4)])
def test_killed_and_resumed_it_is_the_run_that_never_stopped(
    killed_after: int, resumed_from: int, begun: Job, whole: Job
) -> None:
    done = begun.train(killed_after=killed_after)
    assert done.resumed_from_step == resumed_from
    assert done.changes == ()
    assert digests(begun.run, STEPS) == digests(whole.run, STEPS)
    assert rows(begun.run) == rows(whole.run)
    assert not list(begun.run.checkpoints.glob(f"{ASIDE_PREFIX}*"))
    # The graph was there: no second compile.
    starts = [row for row in read_metrics(begun.run.metrics) if row["event"] == "start"]
    assert [row["compiled"] for row in starts] == [True] * 2


@pytest.mark.slow
def test_on_another_number_of_ranks_it_goes_on_and_says_what_changed(
    begun: Job, whole: Job
) -> None:
    bundle = whole.run.checkpoints / "step-00000006"
    shutil.copytree(bundle, begun.run.checkpoints / bundle.name)
    other = load_recipe("digits", EVERYTHING | {"devices.ranks": 1})
    begun.context = open_context(other, Workspace(begun.root), run="r")
    told: list[str] = []
    done = begun.train(lambda tick: told.append(tick.detail))
    assert (done.ranks, done.resumed_from_step, done.steps) == (1, 6, STEPS)
    assert done.changes[:2] == ("ranks 2 -> 1", "accumulation 2 -> 4")
    assert any("otherwise than before: ranks 2 -> 1, accumulation 2 -> 4" in text for text in told)
    # Other batches in BatchNorm, another rounding: near, not equal.
    ours, theirs = (read_contents(j.run.checkpoints / "step-00000012") for j in (begun, whole))
    assert ours.position.loss == pytest.approx(theirs.position.loss, rel=0.2)
    assert digests(begun.run, STEPS) != digests(whole.run, STEPS)


@pytest.mark.slow
def test_moving_averages_are_selected_among_too(whole: Job) -> None:
    trained = whole.train()
    assert trained.reused
    selection = select(whole.context, whole.dataset, trained)
    found = [(c.checkpoint.step, c.checkpoint.averaged) for c in selection.candidates]
    assert found == [(6, False), (6, True), (12, False), (12, True)]
    weights, averages = selection.candidates[2:]
    # After twelve updates an average still remembers the start: other weights, another loss.
    assert averages.score.loss != weights.score.loss
    assert selection.chosen in [c.checkpoint for c in selection.candidates]
