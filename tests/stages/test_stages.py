"""The stages around one finished tiny job: what they leave, what they skip, what they refuse."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.checkpoints.bundle import WEIGHTS, complete_bundles
from mixnet_core.data.index import read_index
from mixnet_core.data.unreadable import count_unreadable
from mixnet_core.errors import InputError, NotAccepted, TransientError
from mixnet_core.evaluate.prediction_table import read_table
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.release.promotion import promote
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import read_release
from mixnet_core.runs.records import exclusive, open_run, recorded
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.ticks import Tick
from mixnet_core.runs.values import Decision, PreparedDataset, Selection, TrainedRun, Validation
from mixnet_core.stages.accept import accept
from mixnet_core.stages.context import Context, open_context
from mixnet_core.stages.prepare import prepare
from mixnet_core.stages.publish import publish
from mixnet_core.stages.select import select
from mixnet_core.stages.train import train
from mixnet_core.storage.files import sha256_of
from mixnet_core.storage.open import open_storage
from mixnet_core.train.metrics import read_metrics
from tests.tiny import SETTINGS, FinishedJob


@pytest.fixture
def copied_run(finished_job: FinishedJob, tmp_path: Path) -> RunDir:
    """The finished run, to be changed; its records still name the original's checkpoints."""
    shutil.copytree(finished_job.run_dir, tmp_path / "runs" / "tiny")
    return RunDir(tmp_path / "runs" / "tiny")


def context_of(run: RunDir, changes: dict[str, Any] | None = None) -> Context:
    """What the stages of a copied run are given, with single keys of its recipe changed."""
    workspace = Workspace(run.root.parents[1])
    recipe = load_recipe(str(run.recipe), changes or {})
    return Context(recipe, run, workspace, str(workspace.releases))


def test_training_leaves_a_checkpoint_an_epoch_with_metrics_for_every_row(
    finished_job: FinishedJob,
) -> None:
    run = RunDir(finished_job.run_dir)
    assert [(c.step, c.epoch) for c in complete_bundles(run.checkpoints)] == [(12, 1), (24, 2)]
    rows = read_metrics(run.metrics)
    steps = [row["step"] for row in rows if row["event"] == "step"]
    assert steps == list(range(2, 25, 2))
    assert [row["epoch"] for row in rows if row["event"] == "epoch"] == [1, 2]
    assert {key: value for key, value in rows[0].items() if key != "time"} == {
        "event": "start",
        "step": 0,
        "epochs": 2,
        "steps": 24,
        "ranks": 1,
        "images_per_step": 4,
        "compiled": False,
        "changes": [],
    }


def test_the_published_weights_are_the_selected_checkpoint_with_its_figures(
    finished_job: FinishedJob,
) -> None:
    results = finished_job.results
    release = read_release(results["publish"]["uri"])
    assert release.files["weights"].sha256 == results["select"]["chosen"]["weights_sha256"]
    score = results["validate"]["score"]
    assert release.facts["val"]["correct1"] == score["correct1"]
    assert score["count"] == results["prepare"]["counts"]["val"] == 90
    report = json.loads(Path(results["validate"]["report_json"]).read_text())
    assert report["val"]["top1"] == score["correct1"] / 90
    engine = f"openvino {metadata.version('openvino')}, CPU, float32"
    assert results["validate"]["engine"] == release.facts["engine"] == engine
    assert report["environment"]["engine"] == engine


def test_a_finished_training_whose_checkpoint_is_damaged_trains_on(copied_run: RunDir) -> None:
    dataset = recorded(copied_run, "prepare", PreparedDataset)
    whole = complete_bundles(copied_run.checkpoints)
    weights = Path(whole[-1].path) / WEIGHTS
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)

    trained = train(context_of(copied_run), dataset, None)

    assert not trained.reused
    assert trained.resumed_from_step == whole[0].step
    # Resuming repeats the lost epoch exactly: data order, augmentation, optimizer and BN.
    assert [c.weights_sha256 for c in trained.checkpoints] == [c.weights_sha256 for c in whole]


def test_a_run_is_not_continued_on_another_dataset(copied_run: RunDir) -> None:
    dataset = recorded(copied_run, "prepare", PreparedDataset)
    other = dataset.model_copy(update={"fingerprint": "0" * 64})
    with pytest.raises(InputError, match="another dataset or other weights"):
        train(context_of(copied_run), other, None)


def test_selection_takes_the_most_correct_then_the_lower_loss(
    finished_job: FinishedJob, copied_run: RunDir
) -> None:
    dataset = recorded(copied_run, "prepare", PreparedDataset)
    trained = recorded(copied_run, "train", TrainedRun)
    copied_run.record("select").unlink()
    again = select(context_of(copied_run), dataset, trained)
    expected = Selection.model_validate_json(json.dumps(finished_job.results["select"]))
    assert again == expected
    best = max(c.score.correct1 for c in again.candidates)
    losses = {c.checkpoint: c.score.loss for c in again.candidates if c.score.correct1 == best}
    assert losses[again.chosen] == min(losses.values())


def test_a_run_cannot_be_opened_with_another_recipe(copied_run: RunDir) -> None:
    recipe = load_recipe(str(copied_run.recipe), {"training.seed": 7})
    workspace = Workspace(copied_run.root.parents[1])
    with pytest.raises(InputError, match=r"differs in training\.seed"):
        open_run(recipe, workspace, "tiny")


def test_a_run_can_be_continued_on_other_devices(copied_run: RunDir) -> None:
    recipe = load_recipe(str(copied_run.recipe), {"devices.ranks": 2})
    run, _ = open_run(recipe, Workspace(copied_run.root.parents[1]), "tiny")
    assert load_recipe(str(run.recipe)).devices.ranks == 2


def test_two_processes_do_not_work_on_one_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with (
        exclusive(run),
        pytest.raises(TransientError, match="another process works on run"),
        exclusive(run, seconds=0.3),
    ):
        pass
    with exclusive(run, seconds=0.3):
        pass


def test_equal_recipes_share_a_run_and_different_ones_do_not(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    one, _ = open_run(load_recipe("digits"), workspace)
    assert open_run(load_recipe("digits"), workspace)[0] == one
    assert open_run(load_recipe("digits", {"training.seed": 1}), workspace)[0] != one


def test_a_recipe_of_any_name_gets_a_usable_run(tmp_path: Path) -> None:
    recipe = load_recipe("digits").model_copy(update={"name": "Über/My Net "})
    name = open_run(recipe, Workspace(tmp_path))[0].name
    assert name == f"ber-my-net-{recipe.fingerprint[:8]}"


def test_shards_are_packed_by_a_process_of_its_own(tmp_path: Path) -> None:
    recipe = load_recipe("digits", {"data.train_limit": 60, "data.layout": "mindrecord"})
    context = open_context(recipe, Workspace(tmp_path))
    ticks: list[Tick] = []
    dataset = prepare(context.watched_by(ticks.append))
    assert not dataset.reused
    packing = [tick for tick in ticks if tick.detail == "into shards, and checked"]
    # Once written and once read back.
    assert packing[-1].done == packing[-1].total == 2 * sum(dataset.counts.values())
    assert prepare(context).reused
    names = {path.name for path in Path(dataset.root).glob("*.mindrecord")}
    assert names == {"train-00000.mindrecord", "select-00000.mindrecord", "val-00000.mindrecord"}


def test_a_diverged_training_fails_for_good_and_says_what_to_change(tmp_path: Path) -> None:
    recipe = load_recipe(
        "digits",
        {
            "data.train_limit": 60,
            # Half of the images are damaged below; the first steps meet some.
            "data.max_unreadable": 60,
            "input.image_size": 8,
            "training.global_batch": 4,
            "training.log_every_steps": 1,
            "training.epochs": 1,
            "schedule.warmup_epochs": 0.0,
            "optimizer.name": "momentum",
            "schedule.lr": 1e30,
            "devices.ranks": 1,
        },
    )
    context = open_context(recipe, Workspace(tmp_path))
    run, dataset = context.run, prepare(context)
    index = read_index(Path(dataset.root), "train")
    for path in index.paths[::2]:
        (index.root / path).write_bytes(bytes((index.root / path).stat().st_size))
    with pytest.raises(Exception, match=r"the loss became (nan|inf).*lower schedule\.lr") as error:
        train(context, dataset, None)
    assert error.value.retryable is False  # type: ignore[attr-defined]
    assert complete_bundles(run.checkpoints) == []
    assert 1 <= count_unreadable(run.unreadable) <= len(index.paths) // 2


def test_published_files_are_what_the_run_left(finished_job: FinishedJob) -> None:
    release = read_release(finished_job.results["publish"]["uri"])
    run = RunDir(finished_job.run_dir)
    assert release.files["recipe"].sha256 == sha256_of(run.recipe)
    assert release.files["report_markdown"].sha256 == sha256_of(run.report_markdown)


def accepted(
    run: RunDir, finished_job: FinishedJob, changes: dict[str, Any], anyway: str | None = None
) -> Decision:
    """`accept` on a finished run's copy with another recipe."""
    workspace = Workspace(finished_job.folder / "workspace")
    recipe = load_recipe(str(run.recipe), changes)
    return accept(
        Context(recipe, run, workspace, str(workspace.releases)),
        recorded(run, "prepare", PreparedDataset),
        recorded(run, "validate", Validation).model_copy(
            update={"answers": str(run.predictions), "report_json": str(run.report_json)}
        ),
        anyway,
    )


def test_what_falls_short_is_not_published_and_the_report_says_why(
    finished_job: FinishedJob, copied_run: RunDir
) -> None:
    wanted = {"acceptance.min_top1": 1.0}
    with pytest.raises(NotAccepted, match=r"is below the demanded 100\.00 %"):
        accepted(copied_run, finished_job, wanted)
    decision = recorded(copied_run, "accept", Decision)
    assert not decision.accepted
    assert "- ✗ top-1" in copied_run.report_markdown.read_text()
    assert "✗ not accepted" in copied_run.report_page.read_text()
    with pytest.raises(NotAccepted):
        publish(
            replace(context_of(copied_run, wanted), registry=str(copied_run.root / "releases")),
            recorded(copied_run, "prepare", PreparedDataset),
            recorded(copied_run, "validate", Validation),
            decision,
        )
    assert not (copied_run.root / "releases").exists()


def test_an_override_is_on_record_and_on_the_page(
    finished_job: FinishedJob, copied_run: RunDir
) -> None:
    wanted = {"acceptance.min_top1": 1.0}
    decision = accepted(copied_run, finished_job, wanted, anyway="a <demonstration>")
    assert decision.accepted
    assert decision.override == "a <demonstration>"
    assert "Published anyway:</span> a &lt;demonstration&gt;" in copied_run.report_page.read_text()
    assert accepted(copied_run, finished_job, wanted, anyway="a <demonstration>").reused


@pytest.mark.slow
def test_a_release_is_replaced_by_one_that_answers_the_same_images_no_worse(
    finished_job: FinishedJob, copied_run: RunDir
) -> None:
    decision = accepted(copied_run, finished_job, {"acceptance.replaces": "tiny"})
    (check,) = decision.checks
    assert check.ok
    assert check.line == (
        "top-1 +0.00 points against tiny on the same 90 images (0 gained, 0 lost, McNemar's exact "
        "p = 1): not worse"
    )


@pytest.mark.slow
def test_an_alias_is_compared_with_by_what_it_stands_for_and_anew_once_that_is_another(
    finished_job: FinishedJob, copied_run: RunDir
) -> None:
    tiny = read_release(finished_job.results["publish"]["uri"])
    folder = Path(tiny.uri.removeprefix("file://"))
    registry = str(copied_run.root / "other")
    files = {role: folder / file.name for role, file in tiny.files.items()}
    for name in ("first", "second"):
        publish_release(name, registry=registry, files=files, facts=tiny.facts)
    promote("production", "first", registry)
    wanted = {"acceptance.replaces": f"{open_storage(registry).uri}/production"}
    decision = accepted(copied_run, finished_job, wanted)
    assert decision.replaces == f"{open_storage(registry).uri}/first"
    assert "against file://" in decision.checks[0].line
    assert accepted(copied_run, finished_job, wanted).reused
    promote("production", "second", registry)
    decision = accepted(copied_run, finished_job, wanted)
    assert not decision.reused
    assert decision.replaces == f"{open_storage(registry).uri}/second"


@pytest.mark.slow
def test_a_release_with_its_classes_in_another_order_is_compared_by_their_names(
    finished_job: FinishedJob, copied_run: RunDir
) -> None:
    tiny = read_release(finished_job.results["publish"]["uri"])
    folder = Path(tiny.uri.removeprefix("file://"))
    turned = publish_release(
        "turned",
        registry=str(copied_run.root / "other"),
        files={role: folder / file.name for role, file in tiny.files.items()},
        facts=tiny.facts | {"classes": tiny.facts["classes"][::-1]},
    )
    decision = accepted(copied_run, finished_job, {"acceptance.replaces": turned.uri})
    rows = read_table(copied_run.predictions, tiny.classes or ()).rows
    before, now = rows["answer"] == 9 - rows["label"], rows["answer"] == rows["label"]
    gained, lost = int((now & ~before).sum()), int((before & ~now).sum())
    (check,) = decision.checks
    assert f"on the same 90 images ({gained} gained, {lost} lost," in check.line


@pytest.mark.slow
def test_a_mean_of_checkpoints_is_made_scored_and_chosen(copied_run: RunDir) -> None:
    context = context_of(copied_run, {"selection.policy": "mean_last", "selection.mean_of": 2})
    dataset = recorded(copied_run, "prepare", PreparedDataset)
    trained = recorded(copied_run, "train", TrainedRun)
    seen: list[Tick] = []
    selection = select(context.watched_by(seen.append), dataset, trained)
    *scored, mean = selection.candidates
    assert [c.checkpoint for c in scored] == list(trained.checkpoints)
    assert selection.chosen == mean.checkpoint
    assert selection.chosen.mean_of == (12, 24)
    assert selection.chosen.weights.parent.parent == copied_run.means
    assert sha256_of(selection.chosen.weights) == selection.chosen.weights_sha256
    assert mean.score.count == dataset.counts["select"]
    assert "the mean of the last 2 checkpoints" in selection.rule
    assert [tick for tick in seen if tick.detail == "statistics of the mean of 2"]
    assert select(context, dataset, trained).reused


@pytest.mark.slow
def test_a_checkpoint_that_is_scored_in_training_reaches_the_same_when_it_is_selected(
    tmp_path: Path,
) -> None:
    changes = {
        "training.epochs": 2,
        "schedule.warmup_epochs": 0.2,
        "schedule.decay_epochs": 1.8,
        "training.keep_checkpoints": 1,
        "devices.ranks": 1,
        "devices.engine": "mindspore",
    }
    recipe = load_recipe("digits", SETTINGS | changes)
    assert recipe.scores_in_training
    context = open_context(recipe, Workspace(tmp_path))
    dataset = prepare(context)
    trained = train(context, dataset, None)
    rows = [row for row in read_metrics(context.run.metrics) if row["event"] == "score"]
    assert [row["epoch"] for row in rows] == [1, 2]
    scored = {row["step"]: (row["count"], row["correct1"], row["correct5"]) for row in rows}
    # Both stay if the first is the better one, else the second alone.
    best = max(rows, key=lambda row: (row["correct1"], -row["loss"], row["step"]))["step"]
    assert [c.step for c in trained.checkpoints] == sorted({best, 24})
    selection = select(context, dataset, trained)
    assert selection.chosen.step == best
    for candidate in selection.candidates:
        found = candidate.score
        expected = scored[candidate.checkpoint.step]
        assert (found.count, found.correct1, found.correct5) == expected
