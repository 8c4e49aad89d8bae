"""What a report's page shows, in full, for tests of the page."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

from PIL import Image

ANIMALS = ("cat", "dog", "red-legged partridge", "wire-haired fox terrier, long-legged", "newt")


def full_data() -> dict[str, Any]:
    """Everything that a page can show; no two figures of it are equal by chance."""
    classes = [f"{ANIMALS[i % 5]} {i}" for i in range(1, 61)]
    states = ["confirmed"] * 5 + ["unreachable", "confirmed", "regressed", "confirmed", "confirmed"]
    return {
        "title": "digits-1",
        "subtitle": "MixNet-S, mindcv flavour, 16 px",
        "release": "digits-of-november",
        "val": {
            "count": 45_100,
            "correct1": 44_000,
            "correct5": 45_010,
            "loss": 0.0801,
            "top1": 44_000 / 45_100,
            "top5": 45_010 / 45_100,
            "top1_low": 0.9742,
            "top1_high": 0.977,
            "top5_low": 0.9976,
            "top5_high": 0.9984,
        },
        "split": "val",
        "sentence": "Measured once on the val split, which neither training nor selection saw.",
        "facts": [
            ["recipe", "digits, fingerprint `3f1c" + "9ab4" * 15 + "`"],
            ["network", "MixNet-S, 4,134,606 parameters, 16 px"],
            ["dataset", "1,797 scanned digits: 1,210 train, 136 select, 451 val"],
            ["checkpoint", "epoch 9, step 333, `weights.ckpt`, mean of 5"],
            ["environment", "mindspore 2.10.0, openvino 2026.1 on CPU, float32, Python 3.11.9"],
        ],
        "claims": [
            _claim("top-1", 0.9758, 0.9756, supported=True),
            _claim("top-5", 0.9994, 0.9981, supported=False),
        ],
        "acceptance": {
            "accepted": True,
            "lines": [
                "top-1 97.56 % is not significantly below the demanded 90.00 %",
                "97 right answers lost and 104 gained against `digits-0` (p = 0.67)",
            ],
            "override": None,
        },
        "batch_sentence": "Global batch 32 = 2 ranks x 16, learning rate 0.002.",
        "candidates": {
            "rule": "best: highest top-1 on the select split, then the lower loss",
            "rows": [
                {
                    "name": f"epoch {epoch}, step {37 * epoch}",
                    "weights": weights,
                    "count": 1360,
                    "top1": 0.951 + epoch / 1000,
                    "top5": 0.9912 + epoch / 10000,
                    "loss": 0.2 - epoch / 90,
                    "chosen": epoch == 9,
                }
                for epoch, weights in ((7, "last"), (8, "average"), (9, "mean of 5"))
            ],
        },
        "calibration": {"error": 0.0213, "bins": [_bin(number) for number in range(15)]},
        "classes": [
            {
                "name": name,
                "count": 2000 + i,
                "correct": 1000 + i,
                "accuracy": (1000 + i) / (2000 + i),
                "low": (980 + i) / (2000 + i),
                "high": (1020 + i) / (2000 + i),
            }
            for i, name in enumerate(classes)
        ],
        "confusions": [
            {
                "label": classes[i],
                "answer": classes[i + 1],
                "count": 90 - i,
                "share": 0.09 - i / 999,
            }
            for i in range(20)
        ],
        "images": {"best": [_image(i, right=True) for i in range(12)], "worst": _worst()},
        "curves": _curves(),
        "throughput": {"training": 1098.8, "evaluation": 277.0},
        "trend": [
            {
                "time": f"2026-{9 + i // 4:02d}-{3 + 7 * (i % 4):02d}T03:0{i}:00Z",
                "state": state,
                "top1": None if state == "unreachable" else 0.93 + i / 2000,
                "low": None if state == "unreachable" else 0.915 + i / 2000,
                "high": None if state == "unreachable" else 0.942 + i / 2000,
            }
            for i, state in enumerate(states)
        ],
    }


def pictures(data: dict[str, Any]) -> dict[str, str]:
    """Every other one 8 pixels small, the others as large as thumbnails get; one is missing."""
    found = {}
    for number, row in enumerate(data["images"]["best"] + data["images"]["worst"]):
        small = number % 2 == 0
        size, kind = ((8, 8), "png") if small else ((160, 107), "jpeg")
        content = io.BytesIO()
        Image.linear_gradient("L").rotate(29 * number).resize(size).save(content, kind)
        uri = base64.b64encode(content.getvalue()).decode()
        found[row["image"]] = f"data:image/{kind};base64,{uri}"
    del found[data["images"]["worst"][3]["image"]]
    return found


def _claim(figure: str, claimed: float, measured: float, *, supported: bool) -> dict[str, Any]:
    low, high = measured - 0.0014, measured + 0.0013
    return {
        "figure": figure,
        "claimed": claimed,
        "measured": measured,
        "low": low,
        "high": high,
        "supported": supported,
    }


def _bin(number: int) -> dict[str, Any]:
    low, high = number / 15, (number + 1) / 15
    count = 0 if number < 2 else 3 ** (number // 2)
    middle = (low + high) / 2 if count else 0.0
    accuracy = max(0.0, middle - 0.2 * math.sin(math.pi * middle)) if count else 0.0
    return {"low": low, "high": high, "count": count, "confidence": middle, "accuracy": accuracy}


def _image(number: int, *, right: bool) -> dict[str, Any]:
    return {
        "image": f"val/{ANIMALS[number % 5]}/{'best' if right else 'worst'}-{number:04d}.png",
        "label": ANIMALS[number % 5],
        "answer": ANIMALS[(number + (not right)) % 5],
        "confidence": 0.9312 + number / 200,
        "loss": number / 100 + 0.0101 if right else 9.1234 - number / 3,
    }


def _worst() -> list[dict[str, Any]]:
    return [_image(number, right=False) for number in range(12)]


def _curves() -> dict[str, Any]:
    def loss(step: int) -> float:
        return 0.1 + 2.2 * math.exp(-step / 1100) + 0.05 * math.sin(step * step)

    return {
        "steps": [
            {
                "step": step,
                "loss": None if step % 400 == 0 else loss(step),
                "lr": 0.002 * min(step / 500, 0.5 + 0.5 * math.cos(math.pi * step / 4500)),
            }
            for step in range(10, 4510, 10)
        ],
        "epochs": [
            {"epoch": e, "step": 500 * e, "loss": loss(500 * e - 250)} for e in range(1, 10)
        ],
        "scores": [
            {"epoch": e, "step": 500 * e, "top1": 1 - 0.8 / e, "top5": 1 - 0.21 / e}
            for e in range(1, 10)
        ],
    }
