"""What training counts, what it saves when, and what makes it stop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mindspore
import pytest
from mindspore import Tensor

from mixnet_core.checkpoints import bundle as bundle_module
from mixnet_core.checkpoints.bundle import (
    OPTIMIZER,
    WEIGHTS,
    Contents,
    Division,
    complete_bundles,
    newest_bundle,
    read_contents,
)
from mixnet_core.checkpoints.retention import read_scores
from mixnet_core.errors import Diverged, JobFailed
from mixnet_core.model.ranks import Ranks
from mixnet_core.processes import child
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import Score
from mixnet_core.train import progress as progress_module
from mixnet_core.train.leaps import IN_A_ROW, WINDOW
from mixnet_core.train.metrics import read_metrics
from mixnet_core.train.progress import Progress
from tests.slow_job import NEARLY, STALL_SECONDS, SlowJob

CLASSES, STEPS = 10, 4
CHANCE = math.log(CLASSES)
DIVISION = Division(
    ranks=1, accumulation=1, threads=1, operators="plain", target="CPU", mindspore="2.10.0"
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "r")
    run.root.mkdir()
    return run


def progress(
    run: RunDir,
    *,
    start: Contents | None = None,
    rank: int = 0,
    left_out: tuple[int, ...] = (),
    **settings: Any,
) -> Progress:
    changed: dict[str, Any] = {
        "training.epochs": 6,
        "schedule.warmup_epochs": 1.0,
        "training.log_every_steps": 3,
        "training.chance_epochs": 2,
    } | {key.replace("__", "."): value for key, value in settings.items()}
    recipe = load_recipe("digits", changed)
    return Progress(
        recipe,
        run,
        Ranks(rank, 2 if rank else 1),
        classes=CLASSES,
        rates=[0.1] * recipe.training.epochs * STEPS,
        resumed_from=start,
        division=DIVISION,
        graph_cached=False,
        left_out=left_out,
    )


def step(on: Progress, loss: float, applied: bool = True) -> None:
    on.stepped(Tensor(loss, mindspore.float32), Tensor(applied))


def epoch(on: Progress, loss: float) -> None:
    for _ in range(STEPS):
        step(on, loss)
    on.finished()


def save(folder: Path) -> None:
    (folder / WEIGHTS).write_text("weights")
    (folder / OPTIMIZER).write_text("momenta")


def test_a_checkpoint_on_a_slow_disk_is_no_hang_of_any_rank(
    run: RunDir, slow_job: SlowJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = progress(run, training__checkpoint_every_epochs=1, training__keep_checkpoints=1)
    child.beat()
    child.beat()
    awaited: list[bool] = []
    kept = bundle_module.sha256_of

    def slowly_read(path: Path) -> str:
        slow_job.takes(NEARLY)
        awaited.append((slow_job.attempt / child.awaited_file("0")).exists())
        return kept(path)

    monkeypatch.setattr(bundle_module, "sha256_of", slowly_read)
    for loss in (3.0, 2.0, 1.0):
        epoch(on, loss)
        on.save(slow_job.slowed(save, 5 * STALL_SECONDS))
    # Digests of three bundles as they are written, and as they are read for older ones to go.
    assert len(awaited) >= 6
    assert set(awaited) == {True}
    assert newest_bundle(run.checkpoints).step == 3 * STEPS


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_within_one_step(value: float, run: RunDir) -> None:
    on = progress(run)
    step(on, 1.0)
    step(on, value)
    with pytest.raises(JobFailed, match=r"the loss became (nan|inf), expected a finite") as error:
        step(on, 1.0)
    assert not error.value.retryable
    assert "lower schedule.lr" in str(error.value)


def test_the_first_loss_stops_at_once(run: RunDir) -> None:
    with pytest.raises(JobFailed, match="the loss became nan"):
        step(progress(run), math.nan)


def test_nothing_is_saved_of_a_step_whose_loss_is_no_number(run: RunDir) -> None:
    on = progress(run, training__checkpoint_every_steps=2)
    step(on, 1.0)
    step(on, math.nan)
    assert on.save_due()
    with pytest.raises(JobFailed):
        on.save(save)
    assert newest_bundle(run.checkpoints).path is None


def test_guessing_after_the_warm_up_stops_after_as_many_epochs_as_asked(run: RunDir) -> None:
    on = progress(run)
    # The warm-up's own epoch does not count.
    epoch(on, CHANCE + 0.1)
    epoch(on, CHANCE + 0.1)
    with pytest.raises(JobFailed, match=r"learns nothing: mean loss 2\.403 in epoch 3") as why:
        epoch(on, CHANCE + 0.1)
    assert not why.value.retryable


def test_a_loss_that_rises_to_guessing_again_stops(run: RunDir) -> None:
    on = progress(run)
    for loss in (3.0, 1.0, CHANCE + 0.5):
        epoch(on, loss)
    with pytest.raises(JobFailed, match="learns nothing"):
        epoch(on, CHANCE)


def test_a_loss_above_guessing_that_falls_goes_on(run: RunDir) -> None:
    on = progress(run)
    for loss in (9.0, 8.0, 7.0, 6.0, 5.0, 4.0):
        epoch(on, loss)


def test_one_epoch_better_than_guessing_begins_the_count_anew(run: RunDir) -> None:
    on = progress(run)
    for loss in (3.0, 3.0, CHANCE - 0.1, 3.0):
        epoch(on, loss)
    with pytest.raises(JobFailed, match=r"2 epoch\(s\) did not"):
        epoch(on, 3.0)


def test_guessing_never_stops_where_the_recipe_says_so(run: RunDir) -> None:
    on = progress(run, training__chance_epochs=None)
    for _ in range(6):
        epoch(on, 9.0)


def test_the_count_of_guessing_epochs_survives_a_restart(run: RunDir) -> None:
    on = progress(run)
    epoch(on, 3.0)
    epoch(on, 3.0)
    on.save(save)
    newest = newest_bundle(run.checkpoints).path
    assert newest is not None
    again = progress(run, start=read_contents(newest))
    with pytest.raises(JobFailed, match="learns nothing"):
        epoch(again, 3.0)


def test_dropped_steps_are_no_part_of_the_mean_and_too_many_in_a_row_stop(run: RunDir) -> None:
    on = progress(run, training__epochs=20)
    step(on, 1.0)
    step(on, math.nan, applied=False)
    step(on, 2.0)
    step(on, math.nan, applied=False)
    on.finished()
    (row,) = [row for row in read_metrics(run.metrics) if row["event"] == "epoch"]
    assert row["loss"] == 1.5
    for _ in range(49):
        step(on, 1.0, applied=False)
    with pytest.raises(JobFailed, match="of 50 steps in a row were not finite") as error:
        step(on, 1.0, applied=False)
    assert not error.value.retryable


def test_an_epoch_of_dropped_steps_alone_stops(run: RunDir) -> None:
    on = progress(run)
    for _ in range(STEPS):
        step(on, 1.0, applied=False)
    with pytest.raises(JobFailed, match="a whole epoch were not finite"):
        on.finished()


def test_checkpoints_fall_due_by_steps_within_an_epoch_by_epochs_and_at_the_end(
    run: RunDir,
) -> None:
    on = progress(run, training__checkpoint_every_steps=2, training__checkpoint_every_epochs=4)
    due = []
    for _ in range(6):
        for _ in range(STEPS):
            step(on, 1.0)
            due.append(on.save_due())
        on.finished()
        due.append(on.save_due())
    within = [False, True, False, False]
    assert due == [
        *([*within, False] * 3),
        *[*within, True],
        *[*within, False],
        *[*within, True],
    ]


def test_metrics_of_a_resumed_run_are_those_of_one_that_never_stopped(
    run: RunDir, tmp_path: Path
) -> None:
    losses = [1 / (number + 3) for number in range(2 * STEPS)]

    def rows(of: RunDir) -> list[tuple[Any, ...]]:
        kept = [row for row in read_metrics(of.metrics) if row["event"] in ("step", "epoch")]
        return [(row["event"], row["step"], row["epoch"], row["loss"]) for row in kept]

    def go_on(on: Progress, until: int) -> None:
        while on._at.step < until:
            step(on, losses[on._at.step])
            if on.epoch_step == STEPS:
                on.finished()

    whole = RunDir(tmp_path / "whole")
    whole.root.mkdir()
    go_on(progress(whole), 2 * STEPS)
    first = progress(run)
    go_on(first, 5)
    first.save(save)
    go_on(first, 7)
    newest = newest_bundle(run.checkpoints).path
    assert newest is not None
    go_on(progress(run, start=read_contents(newest)), 2 * STEPS)
    assert rows(run) == rows(whole)
    assert [row[:3] for row in rows(run)] == [
        ("step", 3, 1),
        ("epoch", 4, 1),
        ("step", 6, 2),
        ("epoch", 8, 2),
    ]


def test_a_row_says_which_share_of_its_time_was_spent_waiting_for_images(run: RunDir) -> None:
    on = progress(run, training__log_every_steps=1)
    step(on, 1.0)
    for _ in on.data_wait.counted(iter([None])):
        time.sleep(0.2)
    step(on, 1.0)

    def slowly() -> Iterator[None]:
        time.sleep(0.2)
        yield

    for _ in on.data_wait.counted(slowly()):
        step(on, 1.0)
    first, busy, starved = [row for row in read_metrics(run.metrics) if row["event"] == "step"]
    assert first["data_wait"] is None
    assert 0 <= busy["data_wait"] < 0.5 < starved["data_wait"] <= 1


def test_other_ranks_count_but_write_nothing(run: RunDir) -> None:
    on = progress(run, rank=1, devices__ranks=2)
    epoch(on, 1.0)
    # Where it waits for rank 0's.
    (run.checkpoints / "step-00000004").mkdir(parents=True)
    on.save(save)
    assert complete_bundles(run.checkpoints) == []
    assert not run.metrics.exists()


def test_other_ranks_wait_for_rank_0s_checkpoint_and_give_signs_of_life(
    run: RunDir, slow_job: SlowJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = progress(run, rank=1, devices__ranks=2)
    monkeypatch.setenv("RANK_ID", "0")
    child.beat()
    child.beat()
    epoch(on, 1.0)
    waits = iter(range(100))

    def sleep(_: float) -> None:
        slow_job.takes(NEARLY)
        if next(waits) == 5:
            (run.checkpoints / "step-00000004").mkdir(parents=True)

    monkeypatch.setattr(progress_module, "time", SimpleNamespace(sleep=sleep))
    on.save(save)
    assert next(waits) == 6


def test_what_was_not_scored_when_an_attempt_ended_is_scored_after_it_goes_on(run: RunDir) -> None:
    on = progress(run, training__epochs=6)
    asked: list[str] = []

    def score(bundle: Path) -> dict[str, Score]:
        asked.append(bundle.name)
        return {WEIGHTS: Score(count=4, correct1=2, correct5=4, loss=1.0)}

    epoch(on, 1.0)
    on.save(save, score)
    for _ in range(2):
        # Ended while it scored.
        epoch(on, 0.9)
        on.save(save)
    newest = newest_bundle(run.checkpoints).path
    assert newest is not None
    again = progress(run, training__epochs=6, start=read_contents(newest))
    step(again, 0.8)
    again.score_missed(score)
    again.score_missed(score)
    assert asked == [f"step-{steps:08}" for steps in (STEPS, 2 * STEPS, 3 * STEPS)]
    assert all(WEIGHTS in read_scores(bundle) for bundle in run.checkpoints.glob("step-*"))
    rows = [row for row in read_metrics(run.metrics) if row["event"] == "score"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]


def batches_of(error: pytest.ExceptionInfo[Diverged]) -> list[int]:
    found = error.value.facts["batches"]
    assert isinstance(found, list)
    return found


def test_the_batch_whose_loss_is_no_number_and_the_one_before_are_named(run: RunDir) -> None:
    on = progress(run, training__log_every_steps=1000)
    for _ in range(5):
        step(on, 1.0)
        if on.epoch_step == STEPS:
            on.finished()
    step(on, math.nan)
    with pytest.raises(Diverged, match="at step 6 of r") as error:
        step(on, 1.0)
    assert batches_of(error) == [5, 6]
    with pytest.raises(Diverged) as error:
        step(progress(run), math.nan)
    assert batches_of(error) == [1]


def test_weights_that_are_no_numbers_are_their_steps_own_and_nothing_is_saved(run: RunDir) -> None:
    on = progress(run)
    epoch(on, 1.0)

    def no_numbers(_: Path) -> None:
        raise JobFailed("weights.ckpt is not saved: 3 parameters are infinite", retryable=False)

    with pytest.raises(Diverged, match=r"after step 4, weights\.ckpt is not saved") as error:
        on.save(no_numbers)
    assert batches_of(error) == [4]
    assert newest_bundle(run.checkpoints).path is None


def test_a_bundle_whose_logits_are_no_numbers_is_named_by_its_step(run: RunDir) -> None:
    on = progress(run)
    epoch(on, 1.0)

    def score(_: Path) -> dict[str, Any]:
        raise JobFailed("the logits are not finite", retryable=False)

    with pytest.raises(Diverged, match="after step 4, the logits are not finite") as error:
        on.save(save, score)
    assert batches_of(error) == [4]


def test_dropped_gradients_without_end_are_named_by_the_first(run: RunDir) -> None:
    on = progress(run, training__epochs=30, training__log_every_steps=1000)
    for number in range(55):
        step(on, 1.0, applied=number < 6)
        if on.epoch_step == STEPS and on._at.epoch_loss.count:
            on.finished()
    step(on, 1.0, applied=False)
    with pytest.raises(Diverged, match="50 steps in a row") as error:
        step(on, 1.0, applied=False)
    assert batches_of(error) == [6, 7]


def test_a_loss_that_leaps_after_the_warm_up_is_named_by_its_first_step(run: RunDir) -> None:
    on = progress(
        run,
        training__log_every_steps=1000,
        training__epochs=200,
        training__chance_epochs=None,
        schedule__warmup_epochs=2.0,
    )
    # What leaps in the warm-up is left alone: rates rise in it.
    for loss in (1.0, 9.0):
        epoch(on, loss)
    for _ in range(WINDOW // STEPS):
        epoch(on, 1.0)
    step(on, 1.0)
    first = on._at.step + 1
    for _ in range(IN_A_ROW):
        step(on, 9.0)
        if on.epoch_step == STEPS:
            on.finished()
    with pytest.raises(Diverged, match=f"leapt to 9.000, {IN_A_ROW} steps in a row") as error:
        step(on, 9.0)
    assert batches_of(error) == [first - 1, first]


def test_a_batch_that_is_left_out_is_counted_and_is_no_part_of_the_mean(run: RunDir) -> None:
    on = progress(run, left_out=(2, 5))
    taken = []
    for number in range(1, 2 * STEPS + 1):
        if not on.leaves_out():
            taken.append(number)
            step(on, float(number))
        assert on.epoch_step == (number - 1) % STEPS + 1
        if on.epoch_step == STEPS:
            on.finished()
    assert taken == [1, 3, 4, 6, 7, 8]
    rows = [row for row in read_metrics(run.metrics) if row["event"] == "epoch"]
    assert [row["loss"] for row in rows] == [pytest.approx(8 / 3), 7.0]


def test_a_loss_before_a_batch_that_is_left_out_is_named_by_its_own_step(run: RunDir) -> None:
    on = progress(run, left_out=(3,))
    step(on, 1.0)
    step(on, math.nan)
    with pytest.raises(Diverged) as error:
        on.leaves_out()
    assert batches_of(error) == [1, 2]


def test_an_epoch_of_left_out_batches_alone_stops_and_says_why(run: RunDir) -> None:
    on = progress(run, left_out=(1, 2, 3, 4))
    for _ in range(STEPS):
        assert on.leaves_out()
    with pytest.raises(JobFailed, match=r"every batch of epoch 1 of r is left out") as error:
        on.finished()
    assert not isinstance(error.value, Diverged)
