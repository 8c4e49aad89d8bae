"""The stage `select`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixnet_core.launch import run_stage
from mixnet_core.measuring import measure, patience_of, threads_of
from mixnet_core.native.choice import choose_operators
from mixnet_core.recipe import Recipe
from mixnet_core.requests import AverageRequest, AverageResult
from mixnet_core.run_dir import RunDir
from mixnet_core.runs import finished, key_of, write_record
from mixnet_core.selecting import choose, members, rule
from mixnet_core.ticks import Tick, Watch, unwatched
from mixnet_core.values import Candidate, Checkpoint, PreparedDataset, Selection, TrainedRun


def select(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    trained: TrainedRun,
    watch: Watch = unwatched,
) -> Selection:
    """Takes what the recipe's policy says (`selecting`); the val split is not looked at.

    Every candidate is scored from its saved file, whatever was measured of it in training.
    """
    key = key_of(
        input=recipe.input.model_dump(mode="json"),
        dataset=dataset.fingerprint,
        checkpoints=[checkpoint.model_dump() for checkpoint in trained.checkpoints],
        selection=recipe.selection.model_dump(exclude={"score_in_training"}),
    )
    done = finished(run, "select", key, Selection)
    if done and done.chosen.weights.is_file():
        return done
    candidates = _candidates(recipe, run, dataset, trained.checkpoints, watch)
    parts = members(recipe.selection, candidates)
    if parts:
        mean = _mean(recipe, run, dataset, parts, watch)
        candidates += _candidates(recipe, run, dataset, [mean], watch)
    selection = Selection(
        chosen=choose(recipe.selection, candidates),
        candidates=candidates,
        rule=rule(recipe.selection, len(parts)),
        policy=recipe.selection.policy,
    )
    write_record(run, "select", key, selection)
    return selection


def _candidates(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    checkpoints: Sequence[Checkpoint],
    watch: Watch,
) -> tuple[Candidate, ...]:
    measured = measure(
        run.recipe,
        recipe,
        dataset,
        [checkpoint.weights for checkpoint in checkpoints],
        split="select",
        stage="select",
        attempts=run.attempts("select"),
        watch=watch,
    )
    return tuple(
        Candidate(checkpoint=checkpoint, score=score)
        for checkpoint, score in zip(checkpoints, measured.scores, strict=True)
    )


def _mean(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    parts: Sequence[Checkpoint],
    watch: Watch,
) -> Checkpoint:
    """Of checkpoints, the oldest first, as a checkpoint of its own."""
    attempts = run.attempts("average")
    digests = [part.weights_sha256 for part in parts]
    images = recipe.selection.statistics_images
    folder = run.means / key_of(parts=digests, images=images)[:12]
    request = AverageRequest(
        recipe=str(run.recipe),
        dataset=dataset.root,
        files=tuple(str(part.weights) for part in parts),
        folder=str(folder),
        images=images,
        classes=len(dataset.classes),
        threads=threads_of(recipe, 1),
        operators=choose_operators(recipe.devices),
        progress=str(attempts / "progress.jsonl"),
    )

    def on_row(row: dict[str, Any]) -> None:
        detail = f"statistics of the mean of {len(parts)}"
        watch(Tick("select", row["done"], row["total"], "img", detail=detail))

    result = run_stage(
        "mixnet_core.train.average",
        request,
        attempts=attempts,
        threads=request.threads,
        progress=Path(request.progress),
        on_progress=on_row,
        patience=patience_of(recipe),
    )
    return Checkpoint(
        path=str(folder),
        step=parts[-1].step,
        epoch=parts[-1].epoch,
        weights_sha256=AverageResult.model_validate(result).sha256,
        mean_of=tuple(part.step for part in parts),
    )
