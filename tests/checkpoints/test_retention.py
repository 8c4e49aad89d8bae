from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mixnet_core.checkpoints.bundle import (
    AVERAGES,
    OPTIMIZER,
    WEIGHTS,
    Division,
    Position,
    complete_bundles,
    read_contents,
    write_bundle,
)
from mixnet_core.checkpoints.retention import (
    SCORES,
    clear_leftovers,
    prune,
    read_scores,
    write_scores,
)
from mixnet_core.errors import IntegrityError
from mixnet_core.recipe.choices import Selection
from mixnet_core.runs.values import Score
from mixnet_core.storage.asides import hold_aside

DIVISION = Division(
    ranks=1, accumulation=1, threads=1, operators="plain", target="CPU", mindspore="2.10.0"
)


def bundle(
    folder: Path,
    step: int,
    right: int | None = None,
    *,
    averages: int | None = None,
    loss: float = 1,
) -> Path:
    """Ten steps are an epoch; right: images of a hundred."""

    def save(aside: Path) -> None:
        for name in (WEIGHTS, OPTIMIZER, AVERAGES):
            (aside / name).write_text(f"{name} of {step}")

    position = Position(step=step, epoch=step // 10, epoch_step=step % 10)
    path = Path(write_bundle(folder, position=position, division=DIVISION, save=save).path)
    found = {WEIGHTS: right, AVERAGES: averages}
    scores = {
        name: Score(count=100, correct1=correct, correct5=100, loss=loss)
        for name, correct in found.items()
        if correct is not None
    }
    if scores:
        write_scores(path, scores)
    return path


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.iterdir())


def test_the_newest_are_kept_where_no_scores_decide(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        bundle(tmp_path, step, 90 if step == 10 else 50)
    prune(tmp_path, 2, Selection(policy="last"))
    assert steps(tmp_path) == [30, 40]
    assert len(complete_bundles(tmp_path)) == 4


def test_of_those_within_an_epoch_only_the_newest_of_all_is_kept(tmp_path: Path) -> None:
    for step in (10, 13, 20, 23, 26):
        bundle(tmp_path, step)
    prune(tmp_path, 2, Selection(policy="last"))
    assert steps(tmp_path) == [10, 20, 26]
    bundle(tmp_path, 30)
    prune(tmp_path, 2, Selection(policy="last"))
    assert steps(tmp_path) == [20, 30]


def test_the_best_so_far_outlives_the_newest(tmp_path: Path) -> None:
    for step, right in ((10, 50), (20, 90), (30, 60), (40, 70), (50, 80)):
        bundle(tmp_path, step, right)
        prune(tmp_path, 1, Selection(policy="best"))
    assert steps(tmp_path) == [20, 50]
    bundle(tmp_path, 60, 95)
    prune(tmp_path, 1, Selection(policy="best"))
    assert steps(tmp_path) == [60]


def test_of_equals_the_lower_loss_is_the_better_then_the_later(tmp_path: Path) -> None:
    for step, loss in ((10, 0.5), (20, 0.4), (30, 0.4), (40, 0.6)):
        bundle(tmp_path, step, 90, loss=loss)
    prune(tmp_path, 1, Selection(policy="best"))
    assert steps(tmp_path) == [30, 40]


def test_good_moving_averages_keep_their_bundle_where_they_can_be_selected(tmp_path: Path) -> None:
    for step, averages in ((10, 99), (20, 50), (30, 50), (40, 50)):
        bundle(tmp_path, step, 60 + step // 10, averages=averages)
    mean = tmp_path / "mean"
    for step, averages in ((10, 99), (20, 50), (30, 50), (40, 50)):
        bundle(mean, step, 60 + step // 10, averages=averages)
    prune(mean, 1, Selection(policy="mean_best", mean_of=2))
    assert steps(mean) == [30, 40]
    (tmp_path / "mean").rename(tmp_path.parent / "elsewhere")
    prune(tmp_path, 1, Selection(policy="best"))
    assert steps(tmp_path) == [10, 40]


def test_a_bundle_is_as_good_as_the_better_of_its_weights_and_averages(tmp_path: Path) -> None:
    bundle(tmp_path, 10, 20, averages=99)
    for step in (20, 30):
        bundle(tmp_path, step, 60, averages=60)
    prune(tmp_path, 1, Selection(policy="best"))
    assert steps(tmp_path) == [10, 30]


def test_the_newest_is_the_one_with_the_most_steps_however_many_digits(tmp_path: Path) -> None:
    for step in (200_000_000, 1_000_000_000, 90):
        bundle(tmp_path, step)
    prune(tmp_path, 1, Selection(policy="last"))
    assert steps(tmp_path) == [1_000_000_000]


def test_what_a_crash_left_aside_is_cleared_and_what_cannot_be_stops_nothing(
    tmp_path: Path,
) -> None:
    bundle(tmp_path, 10)
    for name in ("aside-a", "aside-b"):
        (tmp_path / f".{name}").mkdir()
        (tmp_path / f".{name}" / WEIGHTS).write_text("half")
    # Deleting it as a folder fails.
    (tmp_path / ".aside-file").write_text("")
    prune(tmp_path, 1, Selection(policy="last"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".aside-file", "step-00000010"]


@pytest.mark.parametrize("files", [0, 1, 2, 3])
def test_a_kill_while_a_bundle_is_deleted_leaves_nothing_that_looks_like_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    for step in (10, 20, 30, 40):
        bundle(tmp_path, step, step)

    def killed(folder: Path, **_: object) -> None:
        for path in sorted(folder.iterdir())[:files]:
            path.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            prune(tmp_path, 1, Selection(policy="best"))
    assert sorted(path.name for path in tmp_path.glob("step-*"))[-1] == "step-00000040"
    for path in tmp_path.glob("step-*"):
        assert read_contents(path)
    clear_leftovers(tmp_path)
    assert {path.name[:5] for path in tmp_path.iterdir()} == {"step-"}
    prune(tmp_path, 1, Selection(policy="best"))
    assert steps(tmp_path) == [40]


def test_scores_that_a_kill_left_half_written_go_with_the_next_start(tmp_path: Path) -> None:
    path = bundle(tmp_path, 10, 5)
    os.close(hold_aside(path).handle)
    clear_leftovers(tmp_path)
    assert {found.name for found in path.iterdir()} == {
        WEIGHTS,
        OPTIMIZER,
        AVERAGES,
        SCORES,
        "bundle.json",
    }


@pytest.mark.parametrize("gone", [(SCORES, WEIGHTS), (SCORES, "bundle.json"), (SCORES, OPTIMIZER)])
def test_half_a_bundle_that_an_earlier_version_left_is_not_kept_for_a_score(
    tmp_path: Path, gone: tuple[str, ...]
) -> None:
    for step in (10, 20, 30, 40):
        bundle(tmp_path, step, step)
    for name in gone:
        (tmp_path / "step-00000010" / name).unlink()
    prune(tmp_path, 1, Selection(policy="best"))
    assert steps(tmp_path) == [40]


def test_half_a_bundle_does_not_count_as_one_of_the_newest(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        bundle(tmp_path, step)
    (tmp_path / "step-00000030" / WEIGHTS).unlink()
    prune(tmp_path, 2, Selection(policy="last"))
    assert steps(tmp_path) == [20, 40]


def test_a_mean_of_the_last_keeps_as_many_as_it_takes(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40, 50):
        bundle(tmp_path, step)
    prune(tmp_path, 1, Selection(policy="mean_last", mean_of=3))
    assert steps(tmp_path) == [30, 40, 50]


def test_what_was_never_scored_may_be_the_best_and_stays(tmp_path: Path) -> None:
    bundle(tmp_path, 10)
    for step in (20, 30, 40):
        bundle(tmp_path, step, step)
    (bundle(tmp_path, 15, 1) / SCORES).unlink()
    (bundle(tmp_path, 50, 99) / SCORES).write_text("{")
    bundle(tmp_path, 60, 3)
    prune(tmp_path, 1, Selection(policy="best"))
    assert steps(tmp_path) == [10, 40, 50, 60]


def test_nothing_is_deleted_for_a_newest_bundle_that_is_damaged(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        bundle(tmp_path, step)
    (tmp_path / "step-00000030" / WEIGHTS).write_text("otherwise")
    with pytest.raises(IntegrityError, match="is damaged"):
        prune(tmp_path, 1, Selection(policy="last"))
    assert steps(tmp_path) == [10, 20, 30]


def test_scores_read_back(tmp_path: Path) -> None:
    path = bundle(tmp_path, 10, 7, averages=8, loss=0.1)
    found = read_scores(path)
    assert {name: score.correct1 for name, score in found.items()} == {WEIGHTS: 7, AVERAGES: 8}
    assert found[WEIGHTS].loss == 0.1
