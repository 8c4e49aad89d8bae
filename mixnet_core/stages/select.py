"""The stage `select`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mixnet_core.evaluate.job import patience_of, threads_of
from mixnet_core.model.native.choice import choose_operators
from mixnet_core.processes.held_devices import HeldDevices, devices_held
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.processes.launch import run_job
from mixnet_core.processes.requests import AverageRequest, AverageResult
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.records import exclusive, finished, key_of, write_record
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.ticks import Tick, Watch
from mixnet_core.runs.values import Candidate, Checkpoint, PreparedDataset, Selection, TrainedRun
from mixnet_core.stages.context import Context
from mixnet_core.stages.made_from import select_inputs
from mixnet_core.stages.measuring import Measuring, measured_as_led, measuring, say_of
from mixnet_core.stages.policy import choose, members, rule


def select(
    context: Context, dataset: PreparedDataset, trained: TrainedRun, host: HostRanks | None = None
) -> Selection:
    """Takes what the recipe's policy says (`stages.policy`); the val split is not looked at.

    Every candidate is scored from its saved file, whatever was measured of it in training.

    Args:
        host: which of several hosts this one is, as of `stages.train`; each calls it then, and
            scores its part of the images. None: this one scores all of them.

    Raises:
        TransientError: another process works on this run, or host 0 does not.
        MixnetError: as `evaluate.job.measure`.
    """
    recipe, run = context.recipe, context.run
    inputs = select_inputs(recipe, dataset, trained)

    def on_record() -> Selection | None:
        done = finished(run, "select", inputs, Selection)
        return done if done and done.chosen.weights.is_file() else None

    if host is not None and not host.leads:
        return measured_as_led(context, "select", host, Selection, on_record)
    with exclusive(run) as lock:
        if (done := on_record()) is not None:
            return done
        with measuring(context, dataset, "select", host, lock) as measure:
            candidates = _candidates(measure, trained.checkpoints)
            if parts := members(recipe.selection, candidates):
                mean = _mean(recipe, run, dataset, parts, lock, context.watch, measure.held)
                candidates += _candidates(measure, [mean])
            selection = Selection(
                chosen=choose(recipe.selection, candidates),
                candidates=candidates,
                rule=rule(recipe.selection, len(parts), frozen=recipe.weights.freeze == "backbone"),
                policy=recipe.selection.policy,
            )
            write_record(run, "select", inputs, selection)
            measure.end(selection)
    return selection


def _candidates(measure: Measuring, checkpoints: Sequence[Checkpoint]) -> tuple[Candidate, ...]:
    measured = measure([checkpoint.weights for checkpoint in checkpoints], "select")
    return tuple(
        Candidate(checkpoint=checkpoint, score=score)
        for checkpoint, score in zip(checkpoints, measured.scores, strict=True)
    )


def _mean(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    parts: Sequence[Checkpoint],
    lock: int,
    watch: Watch,
    held: HeldDevices | None,
) -> Checkpoint:
    """Makes the mean of checkpoints, the oldest first, a checkpoint of its own."""
    attempts = run.attempts("average")
    digests = [part.weights_sha256 for part in parts]
    images = recipe.selection.statistics_images
    frozen = recipe.weights.freeze == "backbone"
    made_from: dict[str, object] = {"parts": digests}
    made_from |= {"statistics": "kept"} if frozen else {"images": images}
    folder = run.means / key_of(**made_from)[:12]
    request = AverageRequest(
        recipe=recipe,
        dataset=dataset.root,
        files=tuple(str(part.weights) for part in parts),
        folder=str(folder),
        images=images,
        classes=len(dataset.classes),
        threads=threads_of(recipe, 1),
        operators=choose_operators(recipe.devices.operators, target=recipe.devices.target),
        progress=str(run.progress("average")),
    )

    def on_row(row: dict[str, Any]) -> None:
        detail = f"statistics of the mean of {len(parts)}"
        watch(Tick("select", row["done"], row["total"], "img", detail=detail))

    say = say_of("select", watch)
    holding = devices_held(recipe.devices.target, 1, f"select of {run.name}", say)
    with nullcontext(held) if held else holding as devices:
        result = run_job(
            "mixnet_core.train.average",
            request,
            attempts=attempts,
            threads=request.threads,
            env=devices.environment,
            progress=Path(request.progress),
            on_progress=on_row,
            keep_open=(lock, *devices.handles),
            patience=patience_of(recipe),
        )
    return Checkpoint(
        path=str(folder),
        step=parts[-1].step,
        epoch=parts[-1].epoch,
        weights_sha256=AverageResult.model_validate(result).sha256,
        mean_of=tuple(part.step for part in parts),
    )
