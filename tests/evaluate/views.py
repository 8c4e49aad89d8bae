"""A view with everything on it, and pictures for it."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np

from mixnet_core.evaluate.answer_table import AnswerTable
from mixnet_core.evaluate.counting import JUDGED
from mixnet_core.evaluate.report_view import measured_view
from mixnet_core.recipe import load_recipe

CLASSES = [f"class {number} of a long name" for number in range(30)]


def table(images: int = 600) -> AnswerTable:
    random = np.random.default_rng(0)
    rows = np.zeros(images, JUDGED)
    rows["position"] = np.arange(images)
    rows["label"] = np.arange(images) % len(CLASSES)
    rows["place"] = np.maximum(0, random.integers(-6, 8, images))
    rows["answer"] = np.where(
        rows["place"] > 0, (rows["label"] + rows["place"]) % len(CLASSES), rows["label"]
    )
    rows["confidence"] = random.uniform(0.1, 1, images)
    rows["loss"] = random.exponential(1, images)
    return AnswerTable(tuple(f"val/{i:04d}.png" for i in range(images)), rows)


def full_view(**changes: Any) -> dict[str, Any]:
    steps = np.arange(10, 600, 10)
    point = {"top1": 0.46, "low": 0.42, "high": 0.5, "state": "confirmed"}
    view = measured_view(
        "mixnet_s-a-long-name-of-a-release",
        load_recipe("digits"),
        table(),
        CLASSES,
        sentence="Measured once on the val split, which neither training nor selection saw.",
        facts=[("checkpoint", f"epoch 3, sha256 `{'0123456789abcdef' * 4}`"), ("engine", "x 1.0")],
        claims=[
            {
                "figure": "top-5",
                "claimed": 0.9554,
                "measured": 0.926,
                "low": 0.92,
                "high": 0.931,
                "supported": False,
            }
        ],
        images_per_second=277.0,
        trend=[
            {"time": "2026-11-02T03:00:00Z", **point},
            {
                "time": "2026-11-09T03:00:00Z",
                "top1": None,
                "low": None,
                "high": None,
                "state": "unreachable",
            },
            {"time": "2026-11-16T03:00:00Z", **point, "state": "regressed"},
        ],
    )
    row = {"weights": "as trained", "count": 136, "top1": 0.5, "top5": 0.9, "loss": 1.25}
    return view | {
        "release": "digits-1",
        "acceptance": {"accepted": False, "lines": ["top-1 is below"], "override": None},
        "batch_sentence": "Global batch 32 = 2 ranks x 16, learning rate 0.002.",
        "candidates": {
            "rule": "highest top-1",
            "rows": [
                {"name": "epoch 1, step 37", "chosen": False, **row},
                {"name": "epoch 2, step 74", "chosen": True, **row},
            ],
        },
        "curves": {
            "steps": [
                {"step": int(s), "loss": float(2 * np.exp(-s / 200)), "lr": 0.002} for s in steps
            ],
            "epochs": [{"epoch": e, "step": 200 * e, "loss": 2 - e / 2} for e in (1, 2)],
            "scores": [
                {"epoch": e, "step": 200 * e, "top1": 0.2 * e, "top5": 0.3 * e} for e in (1, 2)
            ],
        },
        **changes,
    }


def pictures(view: dict[str, Any]) -> dict[str, str]:
    """A small PNG of its own colour for every image that the view names."""
    found = {}
    for kind in view["images"]:
        for image in view["images"][kind]:
            shade = np.full((24, 32, 3), 40 + 5 * (image["position"] % 40), np.uint8)
            content = cv2.imencode(".png", shade)[1].tobytes()
            found[image["image"]] = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return found
