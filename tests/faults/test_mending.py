"""Training that diverges on two ranks: it ends, or goes back and loses no bit but what it says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.checkpoints.bundle import newest_bundle
from mixnet_core.data.index import read_index
from mixnet_core.errors import Diverged
from mixnet_core.processes.launch import run_job
from mixnet_core.runs.diverged import read_diverged
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.summaries import summary
from mixnet_core.runs.values import TrainedRun
from mixnet_core.stages import train as training_module
from tests.faults.job import differences
from tests.faults.test_restarts import Training
from tests.train.diverging import (
    IN_A_ROW,
    KIND_VARIABLE,
    MARK_VARIABLE,
    RANK_VARIABLE,
    STEP_VARIABLE,
)

pytestmark = pytest.mark.faults

# Twelve steps are an epoch; checkpoints are made after 3, 6, 9, ..., and of those within an epoch
# the newest is kept.
STEPS = 36


def trained(
    training: Training, kind: str = "", step: int = -1, rank: int = 1, mark: str = ""
) -> TrainedRun:
    environment = {
        KIND_VARIABLE: kind,
        STEP_VARIABLE: str(step),
        RANK_VARIABLE: str(rank),
        MARK_VARIABLE: mark,
    }

    def diverging(_: str, *rest: Any, **options: Any) -> dict[str, Any]:
        # Always this module: MindSpore takes no graph that another script compiled.
        return run_job("tests.train.diverging", *rest, **options, env=environment)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module, "run_job", diverging)
        return training.train()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Training:
    workspace = Workspace(tmp_path_factory.mktemp("undisturbed"))
    training = Training(workspace, None, training__epochs=3, training__on_divergence="rewind")
    assert trained(training).steps == STEPS
    return training


@pytest.fixture
def begin(undisturbed: Training) -> Callable[..., Training]:
    """Another run of the same recipe but for what is said."""

    def begin(folder: Path, on_divergence: str, **more: Any) -> Training:
        settings = {"training__epochs": 3, "training__on_divergence": on_divergence} | more
        training = Training(Workspace(folder), undisturbed.dataset, **settings)
        if not training.run.graphs.exists():
            # Taken where the recipe is the same in full.
            shutil.copytree(undisturbed.run.graphs, training.run.graphs)
        return training

    return begin


def test_numbers_that_one_rank_lost_once_cost_a_rewind_and_no_bit(
    begin: Callable[..., Training], undisturbed: Training, tmp_path: Path
) -> None:
    training = begin(tmp_path, "rewind")
    done = trained(training, "nan", 29, mark=str(tmp_path / "mark"))
    assert differences(undisturbed.outcome(), training.outcome()) == []
    assert (done.rewinds, done.left_out, done.resumed_from_step) == (1, (), 24)
    assert "went back 1 time after it diverged, no batch left out" in summary(done)
    (stopped,) = [text for text in training.milestones() if text.startswith("stopped: ")]
    assert "the loss became nan, expected a finite number, at step 29" in stopped
    assert "going back to step 24, rewind 1 of 3; steps 28, 29 of epoch 3, 8 images" in stopped
    rows = read_diverged(training.run.diverged)
    assert [(row.step, len(row.images)) for row in rows] == [(28, 4), (29, 4)]


def test_a_batch_that_is_no_number_each_time_is_left_out_for_good_and_said(
    begin: Callable[..., Training], undisturbed: Training, tmp_path: Path
) -> None:
    training = begin(tmp_path / "one", "rewind-and-skip")
    done = trained(training, "nan", 29, rank=0)
    assert (done.rewinds, done.left_out, done.steps) == (1, (28, 29), STEPS)
    assert "went back 1 time after it diverged, 2 batches left out" in summary(done)
    paths = set(map(str, read_index(Path(training.dataset.root), "train").paths))
    rows = read_diverged(training.run.diverged)
    assert {image for row in rows for image in row.images} <= paths
    names = differences(undisturbed.outcome(), training.outcome())
    assert names
    assert all("00000036" in name for name in names)

    # What was left out is all that differs: a run without fault that leaves out the same.
    other = begin(tmp_path / "other", "rewind-and-skip")
    shutil.copytree(training.run.graphs, other.run.graphs, dirs_exist_ok=True)
    shutil.copy(training.run.diverged, other.run.diverged)
    assert trained(other).left_out == (28, 29)
    assert differences(training.outcome(), other.outcome()) == []


def test_a_batch_that_is_no_number_each_time_ends_it_after_the_rewinds_that_are_allowed(
    begin: Callable[..., Training], tmp_path: Path
) -> None:
    training = begin(tmp_path, "rewind", training__rewinds=1)
    with pytest.raises(Diverged, match=r"went back 1 time, training\.rewinds allows no more"):
        trained(training, "nan", 17)
    assert len(list(training.run.attempts("train").iterdir())) == 2
    assert newest_bundle(training.run.checkpoints).step == 15


def test_where_it_is_to_stop_it_ends_at_once_and_can_be_told_to_go_back(
    begin: Callable[..., Training], undisturbed: Training, tmp_path: Path
) -> None:
    training = begin(tmp_path, "stop")
    with pytest.raises(Diverged, match="the loss became nan"):
        trained(training, "nan", 17, rank=0, mark=str(tmp_path / "mark"))
    assert newest_bundle(training.run.checkpoints).step == 15
    told = begin(tmp_path, "rewind")
    done = trained(told)
    assert (done.rewinds, done.resumed_from_step) == (1, 12)
    assert differences(undisturbed.outcome(), told.outcome()) == []


def test_weights_that_blow_up_are_found_by_the_loss_and_no_bundle_of_them_is_gone_on_from(
    begin: Callable[..., Training], undisturbed: Training, tmp_path: Path
) -> None:
    training = begin(tmp_path, "rewind")
    done = trained(training, "blow", 30, mark=str(tmp_path / "mark"))
    assert done.rewinds == 1
    (stopped,) = [text for text in training.milestones() if text.startswith("stopped: ")]
    assert f"{IN_A_ROW} steps in a row" in stopped
    # It was saved while its weights were wrong, before anybody knew.
    assert (training.run.checkpoints / "diverged-step-00000030").is_dir()
    assert differences(undisturbed.outcome(), training.outcome()) == []
