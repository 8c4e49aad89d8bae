"""A report's data in the form that `page.report_page` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from mixnet_core.evaluate.report.images import measured_sentence
from mixnet_core.evaluate.report.markdown import facts, sentence
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.markup import literal
from mixnet_core.runs.values import Score


def report_view(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `data.report_data`'s values under the page's headings."""
    recipe, acceptance = data["recipe"], data["acceptance"]
    return {
        "title": data["run"],
        "subtitle": f"MixNet-{recipe['variant'].upper()}, {recipe['flavour']} flavour, "
        f"{recipe['image_size']} px",
        "release": data["release"],
        "val": data["val"],
        "split": "val",
        "sentence": measured_sentence(data),
        "unseen": data.get("unseen"),
        "facts": [list(fact) for fact in facts(data)],
        "acceptance": _acceptance(acceptance) if acceptance else None,
        "batch_sentence": literal(sentence(data["batch"]["sentence"])),
        "candidates": {
            "rule": literal(data["selection"]["rule"]),
            "rows": [
                {"name": f"epoch {row['epoch']}, step {row['step']}", **row}
                for row in data["selection"]["candidates"]
            ],
        },
        "calibration": data["calibration"],
        "classes": data["classes"],
        "confusions": data["confusions"],
        "images": data["images"],
        "curves": data["curves"],
        "throughput": {
            "training": data["training"]["images_per_second"],
            "evaluation": data["evaluation"]["images_per_second"],
        },
    }


def measured_view(
    title: str,
    recipe: Recipe,
    table: PredictionTable,
    classes: Sequence[str],
    *,
    sentence: str,
    facts: Sequence[tuple[str, str]],
    claims: Sequence[Mapping[str, Any]],
    unseen: Score | None,
    images_per_second: float,
    trend: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Describes a file's predictions for a val split, for a page that tells of no training.

    Args:
        classes: names in label order.
        sentence: may hold `code` (`runs.markup`).
        facts: name, and text likewise.
        claims: rows as `revalidation.states.Claim`.
        unseen: what was counted without the images that the weights had seen; None where there
            are none of these, or they are not known.
        trend: earlier results and this one, the oldest first.
    """
    return {
        "title": title,
        "subtitle": f"MixNet-{recipe.network.variant.upper()}, {recipe.network.flavour} flavour, "
        f"{recipe.input.image_size} px",
        "release": None,
        "val": score_data(table.rows),
        "unseen": totals(unseen) if unseen else None,
        "split": "val",
        "sentence": sentence,
        "facts": [list(fact) for fact in facts],
        "claims": [dict(claim) for claim in claims],
        "calibration": calibration(table.rows),
        "classes": class_accuracies(table.rows, classes),
        "confusions": confusions(table.rows, classes),
        "images": extremes(table, classes),
        "throughput": {"training": None, "evaluation": images_per_second},
        "trend": [dict(point) for point in trend],
    }


def _acceptance(acceptance: Mapping[str, Any]) -> dict[str, Any]:
    override = acceptance["override"]
    return {
        "accepted": acceptance["accepted"],
        "lines": [literal(check["line"]) for check in acceptance["checks"]]
        or ["Nothing is demanded by the recipe."],
        "override": None if override is None else literal(override),
    }
