"""A report as one page of HTML that needs no other file, no script and no network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from mixnet_core.evaluate.figures import curves_svg, reliability_svg, trend_svg

if TYPE_CHECKING:
    from jinja2 import Template

# The rest is folded away.
_OPEN_CLASSES = 20


def report_page(view: Mapping[str, Any], thumbnails: Mapping[str, str]) -> str:
    """The page of a `report_view`; equal arguments give equal bytes.

    Args:
        thumbnails: an image's path -> a `data:` URI; those that are missing are left out.
    """
    curves, trend = view.get("curves"), view.get("trend")
    plots = {
        "reliability": reliability_svg(view["calibration"]["bins"]),
        "curves": curves_svg(curves) if curves and curves["steps"] else "",
        "trend": trend_svg(trend) if trend else "",
    }
    return _template().render(
        view={**_NOTHING, **view},
        plots={name: Markup(svg) for name, svg in plots.items()},
        thumbnails=thumbnails,
        open_classes=_OPEN_CLASSES,
    )


# Of what a view need not have.
_NOTHING: dict[str, Any] = {
    "acceptance": None,
    "batch_sentence": "",
    "candidates": None,
    "claims": [],
    "confusions": [],
    "images": {},
    "release": None,
    "throughput": {},
}


@cache
def _template() -> Template:
    # Takes a tenth of a second to import, which every command would pay.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        # Names of classes and files are whatever somebody chose.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.2f} %"
    environment.filters["loss"] = lambda value: f"{value:.4f}"
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["code"] = _code
    return environment.get_template("report_page.html")


def _code(text: str) -> Markup:
    """`backticks` become code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))
