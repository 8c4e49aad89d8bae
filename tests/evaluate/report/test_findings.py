from __future__ import annotations

import numpy as np
import pytest

from mixnet_core.evaluate.counting import JUDGED
from mixnet_core.evaluate.prediction_table import PredictionTable
from mixnet_core.evaluate.report.findings import (
    MOST_CONFUSIONS,
    MOST_IMAGES,
    calibration,
    class_accuracies,
    confusions,
    extremes,
    score_data,
)

CLASSES = ["ant", "bee", "cat", "none"]
# label, answer, place, confidence, loss
PREDICTIONS = [
    (0, 0, 0, 0.9, 0.1),
    (0, 1, 1, 0.6, 1.1),
    (1, 2, 1, 0.5, 1.2),
    (1, 2, 2, 0.7, 2.0),
    (1, 1, 0, 0.8, 0.2),
    (2, 2, 0, 1.0, 0.0),
]
ROWS = np.array([(i, *row) for i, row in enumerate(PREDICTIONS)], JUDGED)
TABLE = PredictionTable(tuple(f"val/{i}.png" for i in range(6)), ROWS)


def test_totals_come_with_their_intervals() -> None:
    found = score_data(ROWS)
    assert (found["count"], found["correct1"], found["correct5"]) == (6, 3, 6)
    assert found["top1_low"] < found["top1"] == 0.5 < found["top1_high"]
    assert found["top5_low"] < found["top5"] == found["top5_high"] == 1.0
    assert found["loss"] == pytest.approx(4.6 / 6)


def test_classes_are_listed_worst_first_and_those_without_images_are_not() -> None:
    found = class_accuracies(ROWS, CLASSES)
    assert [(c["name"], c["correct"], c["count"]) for c in found] == [
        ("bee", 1, 3),
        ("ant", 1, 2),
        ("cat", 1, 1),
    ]
    assert all(c["low"] < c["accuracy"] < c["high"] or c["accuracy"] == 1 for c in found)


def test_confusions_are_listed_most_frequent_first_and_right_predictions_are_none() -> None:
    assert confusions(ROWS, CLASSES) == [
        {"label": "bee", "answer": "cat", "count": 2, "share": 2 / 3},
        {"label": "ant", "answer": "bee", "count": 1, "share": 0.5},
    ]
    assert confusions(ROWS[ROWS["place"] == 0], CLASSES) == []


def test_best_and_worst_are_by_loss() -> None:
    found = extremes(TABLE, CLASSES)
    assert [i["image"] for i in found["best"]][:2] == ["val/5.png", "val/0.png"]
    assert found["worst"][0] == {
        "image": "val/3.png",
        "position": 3,
        "label": "bee",
        "answer": "cat",
        "confidence": 0.7,
        "loss": 2.0,
    }


def test_of_many_only_so_many_are_listed() -> None:
    many = 50
    rows = np.zeros(many, JUDGED)
    rows["label"], rows["answer"], rows["place"] = np.arange(many), (np.arange(many) + 1) % many, 1
    names = [str(i) for i in range(many)]
    assert len(confusions(rows, names)) == MOST_CONFUSIONS
    found = extremes(PredictionTable(tuple(names), rows), names)
    assert len(found["best"]) == len(found["worst"]) == MOST_IMAGES


def test_the_calibration_covers_every_image() -> None:
    found = calibration(ROWS)
    assert sum(item["count"] for item in found["bins"]) == 6
    # Each alone in its bin of a fifteenth, so the distances are simply averaged.
    assert found["error"] == pytest.approx((0.1 + 0.6 + 0.5 + 0.7 + 0.2 + 0.0) / 6)
