"""A training that diverged ends or goes back, and what it was about is on record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.checkpoints.bundle import (
    OPTIMIZER,
    WEIGHTS,
    Division,
    Position,
    newest_bundle,
    write_bundle,
)
from mixnet_core.data.index import read_index
from mixnet_core.errors import Diverged, JobFailed, RecipeError
from mixnet_core.processes import child
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.diverged import read_diverged
from mixnet_core.runs.records import existing_run, open_run
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.stages.context import open_context
from mixnet_core.stages.prepare import prepare
from mixnet_core.stages.rewinding import Rewinding
from mixnet_core.storage.files import write_json
from tests.tiny import SETTINGS

# Twelve steps of four images are an epoch.
STEPS = (3, 6, 9, 12)
DIVISION = Division(
    ranks=1, accumulation=1, threads=1, operators="plain", target="CPU", mindspore="2.10.0"
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    workspace = Workspace(tmp_path_factory.mktemp("data"))
    return prepare(open_context(load_recipe("digits", SETTINGS), workspace, run="r"))


class Diverging:
    """A run with bundles whose newest attempt left an error, as its ranks write it."""

    def __init__(self, root: Path, dataset: PreparedDataset, **settings: Any) -> None:
        changed = {f"training.{key}": value for key, value in settings.items()}
        self.run, self.dataset, self.said = RunDir(root / "r"), dataset, list[str]()
        self.recipe = load_recipe("digits", SETTINGS | changed)
        for step in STEPS:
            self.save(step)

    def save(self, step: int) -> None:
        def files(folder: Path) -> None:
            (folder / WEIGHTS).write_text("weights")
            (folder / OPTIMIZER).write_text("momenta")

        at = Position(step=step, epoch=step // 12, epoch_step=step % 12)
        write_bundle(self.run.checkpoints, position=at, division=DIVISION, save=files)

    def attempt(self, number: int, batches: tuple[int, ...], rank: int = 0) -> Diverged:
        error = Diverged("the loss became nan", batches=batches, what="the loss became nan")
        attempt = self.run.attempts("train") / f"attempt-{number:03d}"
        failure = {"type": "Diverged", "message": str(error), "facts": error.facts}
        write_json(attempt / child.failure_file(str(rank)), failure)
        # What a call gets from a job has the message only.
        return Diverged(str(error))

    def rewinding(self) -> Rewinding:
        return Rewinding(self.recipe, self.run, self.dataset, self.said.append)

    def newest(self) -> int:
        return newest_bundle(self.run.checkpoints).step


@pytest.fixture
def diverging(tmp_path: Path, dataset: PreparedDataset) -> Callable[..., Diverging]:
    return lambda **settings: Diverging(tmp_path, dataset, **settings)


def test_it_goes_back_behind_the_newest_good_one_and_names_every_image(
    diverging: Callable[..., Diverging],
) -> None:
    job = diverging(on_divergence="rewind")
    job.rewinding().settle(job.attempt(1, (10, 11)))
    # 12 was saved since, 9 is the newest good one.
    assert job.newest() == 6
    rows = read_diverged(job.run.diverged)
    assert [(row.epoch, row.step, row.rewound_to, row.left_out) for row in rows] == [
        (1, 10, 6, False),
        (1, 11, 6, False),
    ]
    images = [image for row in rows for image in row.images]
    assert len(set(images)) == 8
    assert set(images) <= set(map(str, read_index(Path(job.dataset.root), "train").paths))
    assert job.said == [
        "not gone on from: step-00000009, step-00000012, kept under diverged- names",
        "stopped: the loss became nan; going back to step 6, rewind 1 of 3; steps 10, 11 of epoch "
        "1, 8 images named in diverged.jsonl, tried again",
    ]
    assert job.rewinding().left_out == ()


def test_the_batches_are_left_out_from_then_on_where_the_recipe_says_so(
    diverging: Callable[..., Diverging],
) -> None:
    job = diverging(on_divergence="rewind-and-skip")
    job.rewinding().settle(job.attempt(1, (12, 13)))
    assert job.newest() == 6
    assert [row.epoch for row in read_diverged(job.run.diverged)] == [1, 2]
    assert job.said[-1].endswith(
        "of epochs 1, 2, 8 images named in diverged.jsonl, left out from now on"
    )
    job.rewinding().settle(job.attempt(2, (9, 10)))
    assert job.newest() == 3
    assert job.rewinding().left_out == (9, 10, 12, 13)
    assert job.rewinding().count == 2


def test_after_as_many_rewinds_as_allowed_it_ends_and_says_so(
    diverging: Callable[..., Diverging],
) -> None:
    job = diverging(on_divergence="rewind", rewinds=1)
    job.rewinding().settle(job.attempt(1, (10, 11)))
    for step in (9, 12):
        job.save(step)
    error = job.attempt(2, (10, 11))
    with pytest.raises(Diverged, match=r"went back 1 time, training\.rewinds allows no more"):
        job.rewinding().settle(error)
    # Good ones stay, for whoever allows one more.
    assert job.newest() == 9
    # A later call goes on from there, and does not go back by itself.
    job.rewinding().settle_before()
    assert (job.newest(), job.rewinding().count) == (9, 1)


def test_where_it_is_to_stop_only_what_was_saved_since_is_set_aside(
    diverging: Callable[..., Diverging],
) -> None:
    job = diverging()
    with pytest.raises(Diverged, match="the loss became nan"):
        job.rewinding().settle(job.attempt(1, (9, 10)))
    assert job.newest() == 9
    assert not job.run.diverged.exists()


def test_what_a_killed_call_did_not_settle_the_next_one_does_once(
    diverging: Callable[..., Diverging],
) -> None:
    job = diverging(on_divergence="rewind")
    job.attempt(1, (10, 11))
    job.rewinding().settle_before()
    assert (job.newest(), job.rewinding().count) == (6, 1)
    job.rewinding().settle_before()
    assert (job.newest(), job.rewinding().count) == (6, 1)


def test_an_attempt_that_failed_otherwise_since_is_not_gone_back_for(
    diverging: Callable[..., Diverging],
) -> None:
    job = diverging(on_divergence="rewind")
    job.attempt(1, (10, 11))
    failure = {"type": "MachineError", "message": "no memory", "facts": None}
    write_json(job.run.attempts("train") / "attempt-002" / "failure-0.json", failure)
    job.rewinding().settle_before()
    assert job.newest() == 12


def test_it_goes_back_too_where_a_rank_that_diverged_hung_and_something_else_ended_it(
    diverging: Callable[..., Diverging],
) -> None:
    job = diverging(on_divergence="rewind")
    job.attempt(1, (10, 11))
    assert job.rewinding().settle(JobFailed("no progress for 600 s", retryable=True))
    assert job.newest() == 6
    assert job.said[-1].startswith("stopped: no progress for 600 s; going back to step 6")


def test_what_did_not_diverge_is_left_to_restarts(diverging: Callable[..., Diverging]) -> None:
    job = diverging(on_divergence="rewind")
    killed = JobFailed("killed", retryable=True)
    assert not job.rewinding().settle(killed)
    job.rewinding().settle(job.attempt(1, (10, 11)))
    # No attempt since: it is settled.
    assert not job.rewinding().settle(killed)
    assert (job.newest(), job.rewinding().count) == (6, 1)


def test_of_several_ranks_the_earliest_finding_counts(diverging: Callable[..., Diverging]) -> None:
    job = diverging(on_divergence="rewind")
    job.attempt(1, (11, 12), rank=0)
    job.rewinding().settle(job.attempt(1, (10, 11), rank=1))
    assert [row.step for row in read_diverged(job.run.diverged)] == [10, 11]


def test_a_begun_run_may_be_told_to_go_back_and_keeps_its_fingerprint(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    begun, _ = open_run(load_recipe("digits"), workspace, "r")
    other = {"training.on_divergence": "rewind-and-skip", "training.rewinds": 9}
    again, kept = open_run(load_recipe("digits", other), workspace, "r")
    assert (again, kept.training.rewinds) == (begun, 9)
    assert existing_run(workspace, "r")[1].training.on_divergence == "rewind-and-skip"


def test_going_back_needs_a_checkpoint_before_the_newest() -> None:
    settings = {"training.on_divergence": "rewind", "training.keep_checkpoints": 1}
    with pytest.raises(RecipeError, match=r"keep_checkpoints 2 or more, or set on_divergence to"):
        load_recipe("digits", settings)
