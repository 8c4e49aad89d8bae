"""A run that was interrupted and resumed is the run that never stopped, bit for bit."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from mixnet_core.checkpoints.bundle import AVERAGES, OPTIMIZER, WEIGHTS, read_contents
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.stages.context import open_context
from mixnet_core.stages.select import select
from mixnet_core.storage.files import ASIDE_PREFIX
from mixnet_core.train.metrics import read_metrics
from tests.train.jobs import EVERYTHING, STEPS, Job, rows

pytestmark = pytest.mark.long

FILES = (WEIGHTS, AVERAGES, OPTIMIZER)


def digests(run: RunDir, step: int) -> dict[str, str]:
    bundle = run.checkpoints / f"step-{step:08d}"
    return {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in FILES}


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
