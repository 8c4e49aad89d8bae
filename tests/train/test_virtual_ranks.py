"""With virtual ranks training leaves the same bytes on any number of ranks, even on several."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.checkpoints.retention import SCORES
from mixnet_core.errors import InputError, Stopped
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.values import TrainedRun
from mixnet_core.stages.context import open_context
from tests.faults.job import differences, outcome
from tests.train.jobs import EVERYTHING, STEPS, Job, rows

VIRTUAL = 4
# Both epochs' bundles are kept, to be compared; those within an epoch are gone after it.
KEPT: dict[str, Any] = EVERYTHING | {
    "training.virtual_ranks": VIRTUAL,
    "training.keep_checkpoints": STEPS,
    "devices.micro_batch": None,
    # As many as there are cores, were it not for the virtual ranks.
    "devices.threads_per_rank": 0,
}


def recipe_on(ranks: int, **more: Any) -> Recipe:
    return load_recipe("digits", KEPT | {"devices.ranks": ranks} | more)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, workspace: Workspace) -> Job:
    """A run on one rank, which never stopped."""
    job = Job(tmp_path_factory.mktemp("one"), recipe_on(1), workspace)
    done = job.train()
    assert (done.steps, done.ranks, done.resumed_from_step) == (STEPS, 1, 0)
    assert len(list(job.run.checkpoints.glob("step-*"))) == 2
    return job


def expect_the_same(job: Job, reference: Job) -> None:
    """Bytes of weights, averages, optimizer and scores, where bundles stand, rows of losses."""
    expected = outcome(reference.run)
    assert any(name.endswith("ema.ckpt") for name in expected)
    assert any(name.endswith(SCORES) for name in expected)
    assert differences(expected, outcome(job.run)) == []
    assert rows(job.run) == rows(reference.run)


@pytest.mark.long
@pytest.mark.parametrize("ranks", [2, 4])
def test_several_ranks_leave_the_bytes_of_one(
    ranks: int, one: Job, tmp_path: Path, workspace: Workspace
) -> None:
    job = Job(tmp_path, recipe_on(ranks), workspace)
    done = job.train()
    assert (done.ranks, done.steps) == (ranks, STEPS)
    expect_the_same(job, one)


@pytest.mark.long
def test_killed_and_gone_on_with_on_other_ranks_each_time_it_leaves_the_same_bytes(
    one: Job, tmp_path: Path, workspace: Workspace
) -> None:
    job = Job(tmp_path, recipe_on(1), workspace)
    done: TrainedRun | None = None
    # Within the first epoch, once with the graphs of the start before, and within the second.
    for ranks, killed_after in ((1, 3), (1, 5), (2, 7), (4, 9), (1, -1)):
        job.context = open_context(recipe_on(ranks), Workspace(job.root), run="r")
        with suppress(Stopped):
            done = job.train(killed_after=killed_after, restarts=False)
    assert done is not None
    # What changed is nothing that bits depend on.
    assert (done.ranks, done.resumed_from_step, done.changes) == (1, 8, ())
    expect_the_same(job, one)


@pytest.mark.long
def test_a_run_keeps_its_virtual_ranks(one: Job) -> None:
    for other in (2, None):
        with pytest.raises(InputError, match=r"begun with .*training\.virtual_ranks"):
            open_context(
                recipe_on(1, **{"training.virtual_ranks": other}), Workspace(one.root), run="r"
            )
