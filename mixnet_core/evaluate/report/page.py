"""The report of a run as one HTML page: no other file, no script, nothing from any other host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from mixnet_core.evaluate.report.plots import reliability_plot, training_curves, trend_plot
from mixnet_core.evaluate.report.templates import template

# Classes in the open; the others are folded away.
_OPEN_CLASSES = 20
_MAY_BE_MISSING = (
    "acceptance",
    "batch_sentence",
    "calibration",
    "candidates",
    "claims",
    "classes",
    "confusions",
    "curves",
    "images",
    "release",
    "throughput",
    "trend",
    "unseen",
)


def report_page(data: Mapping[str, Any], thumbnails: Mapping[str, str]) -> str:
    """Returns the page's HTML; equal arguments give equal text.

    Args:
        data: title, subtitle, val (count, correct1, correct5, loss in nats, and shares in 0..1),
            split, sentence, facts; and what `_MAY_BE_MISSING` names, which is left out of the page
            where it is missing, None or empty. Sentences, facts' texts, rules and reasons may hold
            `code` in backticks (`runs.markup`).
        thumbnails: an image's name in `data` -> a `data:` URI of its picture; may be missing.

    Raises:
        ValueError: a thumbnail is no `data:` URI, or a time of the trend is not ISO 8601.
        jinja2.UndefinedError: a value that must be there is not.
    """
    for image, uri in thumbnails.items():
        if not uri.startswith("data:"):
            raise ValueError(
                f"the thumbnail of {image} is {uri[:40]!r}, expected a data: URI: a report must "
                "not depend on other files"
            )
    given = {key: value for key, value in data.items() if value is not None}
    view = {**dict.fromkeys(_MAY_BE_MISSING), **given}
    bins = [row for row in (view["calibration"] or {}).get("bins") or () if row["count"]]
    curves = {key: rows for key, rows in (view["curves"] or {}).items() if rows}
    view |= {
        "bins": bins,
        "calibration": view["calibration"] if bins else None,
        "candidates": view["candidates"] if (view["candidates"] or {}).get("rows") else None,
        "curves": {"epochs": (), "scores": (), **curves} if curves else None,
        "images": view["images"] or {},
        "throughput": view["throughput"] or {},
    }
    plots = {
        "calibration": reliability_plot(bins) if bins else "",
        "curves": training_curves(curves) if curves else "",
        "trend": trend_plot(view["trend"]) if view["trend"] else "",
    }
    return template("page.html").render(
        view
        | {
            "plots": {name: Markup(svg) for name, svg in plots.items()},
            "thumbnails": thumbnails,
            "open_classes": _OPEN_CLASSES,
        }
    )
