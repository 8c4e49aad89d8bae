"""Findings in the predictions for a split: totals, calibration, classes, confusions, images.

Plain data for the report; shares are in 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mixnet_core.evaluate.counting import Judged, score
from mixnet_core.evaluate.prediction_table import PredictionTable
from mixnet_core.evaluate.statistics import calibration_error, reliability, wilson_interval
from mixnet_core.runs.values import Score

MOST_CONFUSIONS = 20
# As many of the best as of the worst.
MOST_IMAGES = 12


def score_data(rows: Judged) -> dict[str, Any]:
    """Returns the totals, with 95 % intervals of the shares."""
    return totals(score(rows))


def totals(found: Score) -> dict[str, Any]:
    """Returns counted figures, with 95 % intervals of the shares."""
    low1, high1 = wilson_interval(found.correct1, found.count)
    low5, high5 = wilson_interval(found.correct5, found.count)
    return {
        **found.model_dump(),
        "top1": found.top1,
        "top1_low": low1,
        "top1_high": high1,
        "top5": found.top5,
        "top5_low": low5,
        "top5_high": high5,
    }


def calibration(rows: Judged) -> dict[str, Any]:
    """Returns the expected calibration error with its bins."""
    bins = reliability(rows["confidence"], rows["place"] == 0)
    return {"error": calibration_error(bins), "bins": [asdict(item) for item in bins]}


def class_accuracies(rows: Judged, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Lists every class that has images, the worst first; equally good ones in label order."""
    counts = np.bincount(rows["label"], minlength=len(classes))
    rights = np.bincount(rows["label"][rows["place"] == 0], minlength=len(classes))
    found = []
    for label in np.flatnonzero(counts):
        count, correct = int(counts[label]), int(rights[label])
        low, high = wilson_interval(correct, count)
        found.append(
            {
                "name": classes[label],
                "count": count,
                "correct": correct,
                "accuracy": correct / count,
                "low": low,
                "high": high,
            }
        )
    return sorted(found, key=lambda item: item["accuracy"])


def confusions(rows: Judged, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Lists the most frequent wrong predictions.

    Returns:
        label, predicted class ("answer"), count, and share of the label's images.
    """
    counts = np.bincount(rows["label"], minlength=len(classes))
    wrong = rows[rows["place"] > 0]
    pairs, times = np.unique(
        wrong["label"].astype(np.int64) * len(classes) + wrong["answer"], return_counts=True
    )
    found = []
    for i in np.argsort(-times, kind="stable")[:MOST_CONFUSIONS]:
        label, answer = divmod(int(pairs[i]), len(classes))
        found.append(
            {
                "label": classes[label],
                "answer": classes[answer],
                "count": int(times[i]),
                "share": int(times[i]) / int(counts[label]),
            }
        )
    return found


def extremes(table: PredictionTable, classes: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Lists the images with the lowest and with the highest loss, the most extreme first."""
    order = np.argsort(table.rows["loss"], kind="stable")
    return {
        "best": [_image(table, i, classes) for i in order[:MOST_IMAGES]],
        "worst": [_image(table, i, classes) for i in order[::-1][:MOST_IMAGES]],
    }


def _image(table: PredictionTable, position: int, classes: Sequence[str]) -> dict[str, Any]:
    row = table.rows[position]
    return {
        "image": table.images[position],
        "position": int(position),
        "label": classes[row["label"]],
        "answer": classes[row["answer"]],
        "confidence": float(row["confidence"]),
        "loss": float(row["loss"]),
    }
