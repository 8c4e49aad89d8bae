"""The report of a validated run as plain data, from which its Markdown and its page are made.

Equal inputs give equal bytes: its only times of day are those that training's metrics hold, and of
the machine's paths it has only the folder that the images came from.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from mixnet_core.evaluate.prediction_table import PredictionTable
from mixnet_core.evaluate.report.findings import (
    calibration,
    class_accuracies,
    confusions,
    extremes,
    score_data,
    totals,
)
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.values import (
    WEIGHTS_FILE,
    Decision,
    MeasuredOn,
    NearDuplicates,
    PreparedDataset,
    Score,
    Selection,
    TrainedRun,
)


def versions() -> dict[str, str]:
    """Returns what the figures depend on besides the inputs: package -> version."""
    return {"python": platform.python_version(), "mindspore": metadata.version("mindspore")}


def report_data(
    *,
    run: str,
    release: str | None,
    recipe: Recipe,
    dataset: PreparedDataset,
    trained: TrainedRun,
    selection: Selection,
    table: PredictionTable,
    measured_on: MeasuredOn,
    near_duplicates: NearDuplicates | None = None,
    evaluated_per_second: float,
    metrics: Sequence[Mapping[str, Any]],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """Returns the report as JSON values; shares are in 0..1.

    Args:
        run: the run's name.
        release: the name it is published under, if that is known.
        table: the predictions of `selection.chosen` for the val split.
        measured_on: the val images.
        near_duplicates: of the dataset; None where nobody asked for them.
        evaluated_per_second: how many images were predicted per second.
        metrics: rows of `train.metrics`.
        environment: `versions()` of where it was measured, and the engine.
    """
    chosen = selection.chosen
    return {
        "run": run,
        "release": release,
        "val": score_data(table.rows),
        "measured_on": measured_on.model_dump(mode="json"),
        "unseen": totals(measured_on.unseen) if measured_on.unseen else None,
        "calibration": calibration(table.rows),
        "classes": class_accuracies(table.rows, dataset.classes),
        "confusions": confusions(table.rows, dataset.classes),
        "images": extremes(table, dataset.classes),
        "checkpoint": {
            "epoch": chosen.epoch,
            "step": chosen.step,
            "weights": chosen.kind,
            "mean_of": list(chosen.mean_of),
            "sha256": chosen.weights_sha256,
        },
        "dataset": {
            "source": recipe.data.source,
            "classes": len(dataset.classes),
            "counts": dict(dataset.counts),
            "overlap": dataset.overlap.model_dump(mode="json") if dataset.overlap else None,
            "notes": list(dataset.notes),
            "near_duplicates": near_duplicates.model_dump(mode="json") if near_duplicates else None,
            "fingerprint": dataset.fingerprint,
        },
        "recipe": {
            "name": recipe.name,
            "fingerprint": recipe.fingerprint,
            "variant": recipe.network.variant,
            "flavour": recipe.network.flavour,
            "image_size": recipe.input.image_size,
        },
        "batch": {
            "global": recipe.training.global_batch,
            "lr": recipe.schedule.lr * recipe.lr_factor,
            "lr_batch": recipe.schedule.lr_batch,
            # As it was trained: a finished run's recipe may name other devices since.
            "sentence": trained.batch or recipe.batch_sentence,
        },
        "training": {
            "epochs": trained.epochs,
            "steps": trained.steps,
            "ranks": trained.ranks,
            "loss": trained.loss,
            "images_per_second": trained.images_per_second,
            "seconds": trained.seconds,
            "resumed_from_step": trained.resumed_from_step,
            "changes": list(trained.changes),
            "unreadable_images": trained.unreadable,
            "rewinds": trained.rewinds,
            "steps_left_out": list(trained.left_out),
            "machine": trained.machine.model_dump(mode="json") if trained.machine else None,
            **_times(metrics),
        },
        "curves": curves(metrics),
        "evaluation": {"images_per_second": round(evaluated_per_second, 1)},
        "selection": {
            "policy": selection.policy,
            "rule": selection.rule,
            "candidates": [
                {
                    "epoch": candidate.checkpoint.epoch,
                    "step": candidate.checkpoint.step,
                    "weights": candidate.checkpoint.kind,
                    "sha256": candidate.checkpoint.weights_sha256,
                    "chosen": candidate.checkpoint == chosen,
                    **_score(candidate.score),
                }
                for candidate in selection.candidates
            ],
        },
        "acceptance": None,
        "environment": dict(environment),
    }


def with_decision(report: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
    """Returns the report with what was decided about publishing.

    The digests that it was decided on are left out: the report has the checkpoint's already, and
    figures of its predictions.
    """
    acceptance = decision.model_dump(
        mode="json", exclude={"reused", "weights_sha256", "answers_sha256", "demands"}
    )
    return {**report, "acceptance": {"accepted": decision.accepted, **acceptance}}


def curves(metrics: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Returns how training went: logged steps, epochs, and scores of the weights if there are any.

    Args:
        metrics: rows of `train.metrics`.
    """

    def rows(event: str, *keys: str) -> list[dict[str, Any]]:
        return [{key: row[key] for key in keys} for row in metrics if row["event"] == event]

    return {
        "steps": rows("step", "step", "loss", "lr"),
        "epochs": rows("epoch", "epoch", "step", "loss"),
        "scores": [
            {
                "epoch": row["epoch"],
                "step": row["step"],
                "top1": row["correct1"] / row["count"],
                "top5": row["correct5"] / row["count"],
            }
            for row in metrics
            if row["event"] == "score" and row["file"] == WEIGHTS_FILE
        ],
    }


def watched_curves(metrics: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Returns `curves`, and how fast it goes; a speed that is not known yet is None.

    Apart from those of a report: speeds differ from one training to its like.

    Args:
        metrics: rows of `train.metrics`.
    """
    speeds = [
        {
            "step": row["step"],
            "images_per_second": row["images_per_second"] or None,
            # Rows of earlier versions have none.
            "data_wait": row.get("data_wait"),
        }
        for row in metrics
        if row["event"] == "step"
    ]
    return {**curves(metrics), "speeds": speeds}


def _times(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns when training began and ended, and how long it took until the first step was done.

    UTC, to the second. The time until then is mostly compilation; None where only a start is known
    that took an earlier one's graph.
    """
    compiled, cached = None, True
    for row in metrics:
        if row["event"] == "start":
            cached = bool(row.get("compiled"))
        elif row["event"] == "compiled" and not cached:
            compiled = row["seconds"]
            break
    times = [row["time"] for row in metrics if "time" in row]
    said = (
        [
            datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for time in (times[0], times[-1])
        ]
        if times
        else [None, None]
    )
    return {"started": said[0], "finished": said[1], "graph_compile_seconds": compiled}


def _score(score: Score) -> dict[str, Any]:
    return {**score.model_dump(), "top1": score.top1, "top5": score.top5}
