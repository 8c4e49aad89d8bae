"""The six stages, each a plain function from small values to a small value.

    prepare -> fetch -> train -> select -> validate -> publish

A stage that finished before with equal inputs, and whose files are still there, returns what it
returned then, marked as reused. Flows and the command line call these and add nothing to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixnet_core.checkpoints.bundle import (
    DAMAGED_PREFIX,
    complete_bundles,
    newest_bundle,
    read_contents,
)
from mixnet_core.cores import usable_cores
from mixnet_core.data.prepare import expect_classes, prepare_dataset
from mixnet_core.data.unreadable import count_unreadable
from mixnet_core.errors import MixnetError
from mixnet_core.evaluate.report import report_data, report_markdown, versions
from mixnet_core.files import sha256_of, write_json, write_text
from mixnet_core.launch import Patience, run_stage
from mixnet_core.native.choice import choose_operators
from mixnet_core.recipe import Recipe
from mixnet_core.release.publish import publish_release
from mixnet_core.release.weights import fetch_weights
from mixnet_core.run_dir import RunDir, Workspace
from mixnet_core.runs import begin, exclusive, finished, key_of, write_record
from mixnet_core.ticks import EvaluationTicks, Tick, TrainingTicks, Watch, unwatched
from mixnet_core.values import (
    Candidate,
    EvaluateRequest,
    EvaluateResult,
    FetchedWeights,
    Operators,
    PackedDataset,
    PackRequest,
    PreparedDataset,
    Release,
    Selection,
    TrainedRun,
    TrainRequest,
    Validation,
)

STAGES = ("prepare", "fetch", "train", "select", "validate", "publish")
SELECTION_RULE = "highest top-1 on the select split; of equals the lower loss, then the later step"
# Images between two rows of progress; any other number gives the same counts.
EVALUATION_BATCH = 64


def prepare(
    recipe: Recipe, run: RunDir, workspace: Workspace, watch: Watch = unwatched
) -> PreparedDataset:
    """The recipe's images, split and indexed (`data.prepare.prepare_dataset`)."""

    def on_image(done: int, total: int) -> None:
        watch(Tick("prepare", done, total, "img"))

    def on_row(row: dict[str, Any]) -> None:
        watch(Tick("prepare", row["done"], row["total"], "img", detail="into shards, and checked"))

    def pack(request: PackRequest) -> PackedDataset:
        attempts = run.attempts("prepare")
        progress = attempts / "progress.jsonl"
        result = run_stage(
            "mixnet_core.data.mindrecord",
            request.model_copy(update={"progress": str(progress)}),
            attempts=attempts,
            progress=progress,
            on_progress=on_row,
            patience=_patience(recipe),
        )
        return PackedDataset.model_validate(result)

    dataset = prepare_dataset(recipe.data, workspace.datasets, on_image, pack=pack)
    expect_classes(dataset, recipe.network.num_classes)
    write_record(run, "prepare", key_of(data=recipe.data.model_dump(mode="json")), dataset)
    return dataset


def fetch(
    recipe: Recipe, run: RunDir, workspace: Workspace, releases: str, watch: Watch = unwatched
) -> FetchedWeights | None:
    """The verified file that training starts from; None where the recipe starts from scratch.

    A run that has it already does not look at the release again, which may be gone by then.

    Args:
        releases: URI where a release's name is looked up after the catalog.
    """
    name = recipe.weights.name
    if name is None:
        return None

    key = key_of(name=name)
    done = finished(run, "fetch", key, FetchedWeights)
    if done and _is_whole(done):
        return done

    def on_bytes(done: int, total: int | None) -> None:
        watch(Tick("fetch", done, total, "B"))

    weights = fetch_weights(name, cache=workspace.weights, releases_uri=releases, on_bytes=on_bytes)
    write_record(run, "fetch", key, weights)
    return weights


def train(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    weights: FetchedWeights | None,
    watch: Watch = unwatched,
) -> TrainedRun:
    """Trains to the recipe's last epoch, resuming from the newest complete checkpoint.

    A failure that may pass is tried again at once, for as long as every attempt leaves a newer
    checkpoint than the one before. Else it is raised, and the caller may wait and then call again.

    Raises:
        InputError: the run was begun with another dataset or other weights.
        TransientError: another process trains this run.
        StageFailed: the child process failed; its `retryable` says whether again helps.
        MixnetError: as `train.loop.train` raises it.
    """
    key = key_of(
        recipe=recipe.fingerprint,
        dataset=dataset.fingerprint,
        weights=weights.sha256 if weights else None,
    )
    ticks = TrainingTicks(watch)
    with exclusive(run) as lock:
        done = finished(run, "train", key, TrainedRun)
        if done and set(done.checkpoints) <= set(complete_bundles(run.checkpoints)):
            return done
        begin(run, "train", key, "another dataset or other weights")
        newest, step = _newest(run, ticks)
        while True:
            request = TrainRequest(
                recipe=str(run.recipe),
                run_dir=str(run.root),
                dataset=dataset,
                weights=weights,
                threads=_threads(recipe, recipe.devices.ranks),
                operators=_training_operators(recipe),
                resume_from=str(newest) if newest else None,
            )
            try:
                result = run_stage(
                    "mixnet_core.train",
                    request,
                    attempts=run.attempts("train"),
                    ranks=recipe.devices.ranks,
                    threads=request.threads,
                    progress=run.metrics,
                    on_progress=ticks,
                    keep_open=(lock,),
                    patience=_patience(recipe),
                )
                break
            except MixnetError as error:
                before = step
                newest, step = _newest(run, ticks)
                if not error.retryable or step <= before:
                    raise
                ticks.say(f"stopped: {error}; going on from step {step}")
        unreadable = count_unreadable(run.unreadable)
        trained = TrainedRun.model_validate(result).model_copy(update={"unreadable": unreadable})
        write_record(run, "train", key, trained)
    return trained


def select(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    trained: TrainedRun,
    watch: Watch = unwatched,
) -> Selection:
    """Chooses one of the run's checkpoints by SELECTION_RULE; the val split is not looked at."""
    key = key_of(
        input=recipe.input.model_dump(mode="json"),
        dataset=dataset.fingerprint,
        checkpoints=[checkpoint.model_dump() for checkpoint in trained.checkpoints],
    )
    done = finished(run, "select", key, Selection)
    if done:
        return done
    files = [Path(checkpoint.path) / checkpoint.file for checkpoint in trained.checkpoints]
    scores = _evaluate(recipe, run, dataset, "select", files, watch).scores
    candidates = tuple(
        Candidate(checkpoint=checkpoint, score=score)
        for checkpoint, score in zip(trained.checkpoints, scores, strict=True)
    )
    best = max(candidates, key=lambda c: (c.score.correct1, -c.score.loss, c.checkpoint.step))
    selection = Selection(chosen=best.checkpoint, candidates=candidates, rule=SELECTION_RULE)
    write_record(run, "select", key, selection)
    return selection


def validate(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    trained: TrainedRun,
    selection: Selection,
    watch: Watch = unwatched,
) -> Validation:
    """Measures the chosen checkpoint on the val split and writes the report."""
    chosen = selection.chosen
    key = key_of(
        input=recipe.input.model_dump(mode="json"),
        dataset=dataset.fingerprint,
        checkpoint=chosen.model_dump(),
    )
    done = finished(run, "validate", key, Validation)
    if done and run.report_json.is_file() and run.report_markdown.is_file():
        return done
    weights = Path(chosen.path) / chosen.file
    measured = _evaluate(recipe, run, dataset, "validate", [weights], watch)
    (score,) = measured.scores
    report = report_data(
        run=run.name,
        release=None,
        recipe=recipe,
        dataset=dataset,
        trained=trained,
        selection=selection,
        score=score,
        environment=versions() | {"engine": measured.engine},
    )
    write_json(run.report_json, report)
    write_text(run.report_markdown, report_markdown(report))
    validation = Validation(
        checkpoint=chosen,
        score=score,
        dataset_fingerprint=dataset.fingerprint,
        report_json=str(run.report_json),
        report_markdown=str(run.report_markdown),
        engine=measured.engine,
    )
    write_record(run, "validate", key, validation)
    return validation


def publish(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    validation: Validation,
    *,
    to: str,
    weights: FetchedWeights | None = None,
    name: str | None = None,
) -> Release:
    """Publishes the validated checkpoint with its evidence (`release.publish.publish_release`).

    Args:
        to: URI that holds releases, `file://` or `s3://`.
        weights: what training started from, for the manifest.
        name: of the release; None: the run's.

    Raises:
        ReleaseConflict: another release has this name.
    """
    files = {
        "weights": Path(validation.checkpoint.path) / validation.checkpoint.file,
        "recipe": run.recipe,
        "report": Path(validation.report_json),
        "report_markdown": Path(validation.report_markdown),
    }
    release = publish_release(
        name or run.name, to=to, files=files, facts=_facts(recipe, dataset, validation, weights)
    )
    write_record(run, "publish", key_of(to=to, name=release.name), release)
    return release


def score_files(
    recipe_file: Path,
    recipe: Recipe,
    dataset: PreparedDataset,
    files: Sequence[Path],
    *,
    split: str,
    stage: str,
    attempts: Path,
    watch: Watch = unwatched,
) -> EvaluateResult:
    """Scores weights files on a split in a child process; `stage` is what watchers are told."""
    threads = _threads(recipe, 1)
    request = EvaluateRequest(
        recipe=str(recipe_file),
        dataset=dataset.root,
        split=split,
        weights=tuple(str(file) for file in files),
        classes=len(dataset.classes),
        batch=EVALUATION_BATCH,
        threads=threads,
        progress=str(attempts / "progress.jsonl"),
    )
    result = run_stage(
        "mixnet_core.evaluate",
        request,
        attempts=attempts,
        threads=threads,
        progress=Path(request.progress),
        on_progress=EvaluationTicks(stage, watch),
        patience=_patience(recipe),
    )
    return EvaluateResult.model_validate(result)


def _evaluate(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    stage: str,
    files: Sequence[Path],
    watch: Watch,
) -> EvaluateResult:
    return score_files(
        run.recipe,
        recipe,
        dataset,
        files,
        split="val" if stage == "validate" else "select",
        stage=stage,
        attempts=run.attempts(stage),
        watch=watch,
    )


def _is_whole(weights: FetchedWeights) -> bool:
    path = Path(weights.path)
    return path.is_file() and sha256_of(path) == weights.sha256


def _newest(run: RunDir, ticks: TrainingTicks) -> tuple[Path | None, int]:
    """The bundle to go on from and its step; says which ones were damaged."""
    before = {bundle.name for bundle in run.checkpoints.glob("step-*")}
    newest = newest_bundle(run.checkpoints)
    for name in sorted(before - {bundle.name for bundle in run.checkpoints.glob("step-*")}):
        ticks.say(f"checkpoint {name} is damaged: kept as {DAMAGED_PREFIX}{name}, not used")
    return newest, read_contents(newest).position.step if newest else 0


def _training_operators(recipe: Recipe) -> Operators:
    # The native ones compute in float32 only.
    return "plain" if recipe.precision.amp_level != "O0" else choose_operators(recipe.devices)


def _patience(recipe: Recipe) -> Patience:
    return Patience(
        first_seconds=recipe.devices.compile_seconds, stall_seconds=recipe.devices.stall_seconds
    )


def _threads(recipe: Recipe, ranks: int) -> int:
    """CPU threads of one of `ranks` processes on this machine."""
    return recipe.devices.threads_per_rank or max(1, usable_cores() // ranks)


def _facts(
    recipe: Recipe,
    dataset: PreparedDataset,
    validation: Validation,
    weights: FetchedWeights | None,
) -> dict[str, object]:
    score, checkpoint = validation.score, validation.checkpoint
    return {
        "variant": recipe.network.variant,
        "flavour": recipe.network.flavour,
        "in_channels": recipe.network.in_channels,
        "stem_stride": recipe.network.stem_stride,
        "image_size": recipe.input.image_size,
        "classes": list(dataset.classes),
        "recipe": {"name": recipe.name, "fingerprint": recipe.fingerprint},
        "dataset": {"fingerprint": dataset.fingerprint, "counts": dataset.counts},
        "checkpoint": {"step": checkpoint.step, "epoch": checkpoint.epoch},
        "started_from": {"name": weights.name, "sha256": weights.sha256} if weights else None,
        "val": {**score.model_dump(), "top1": score.top1, "top5": score.top5},
        "engine": validation.engine,
    }
