"""The report's plots: SVG for a page, PNG for a dashboard.

A page's plots take its text colour for lines and letters, so that they read in light, in dark and
in print. Colours beside it are near those of Okabe and Ito, which colour-blind readers tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREEN = "#2b8cc9", "#d55e00", "#009e73"
# Stands for the page's text colour until the SVG is written.
_INK = "#123456"
_PNG_INK = "#333333"

Rows = Sequence[Mapping[str, Any]]


def reliability_svg(bins: Rows) -> str:
    """Accuracy over confidence; `calibration`'s bins. A dot is the larger the more images."""
    figure, axes = _figure(3.8, 3.6)
    most = max((item["count"] for item in bins), default=1) or 1
    axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=(0, (4, 4)))
    for item in bins:
        if item["count"]:
            x, y = item["confidence"], item["accuracy"]
            axes.plot([x, x], [x, y], color=_ORANGE, linewidth=2, alpha=0.7)
            size = 14 + 90 * item["count"] / most
            axes.scatter([x], [y], s=size, color=_BLUE, alpha=0.85, zorder=3, linewidths=0)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("confidence of the answer")
    axes.set_ylabel("share that is right")
    return _svg(figure, "reliability")


def curves_svg(curves: Mapping[str, Rows]) -> str:
    """Loss and learning rate over steps, and top-1 on the select split where it was scored."""
    return _svg(_curves(curves, _INK), "curves")


def curves_png(curves: Mapping[str, Rows]) -> bytes:
    """As `curves_svg`."""
    return _png(_curves(curves, _PNG_INK))


def trend_svg(points: Rows) -> str:
    """Top-1 with its interval, one measurement beside the other; crosses where there was none."""
    return _svg(_trend(points, _INK), "trend")


def trend_png(points: Rows) -> bytes:
    """As `trend_svg`."""
    return _png(_trend(points, _PNG_INK))


def _curves(curves: Mapping[str, Rows], ink: str) -> Figure:
    scores = curves["scores"]
    figure, axes, *below = _figure(7.2, 4.2, rows=3 if scores else 2, ink=ink)
    steps = [row for row in curves["steps"] if row["loss"] is not None]
    axes.plot(_of(steps, "step"), _of(steps, "loss"), color=_BLUE, linewidth=1, alpha=0.55)
    epochs = [row for row in curves["epochs"] if row["loss"] is not None]
    axes.plot(
        _of(epochs, "step"), _of(epochs, "loss"), color=_BLUE, linewidth=1.8, marker="o", ms=3
    )
    axes.set_ylabel("training loss")
    rates = below[-1]
    rates.plot(_of(curves["steps"], "step"), _of(curves["steps"], "lr"), color=_ORANGE)
    rates.set_ylabel("learning rate")
    rates.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    if scores:
        top1 = [100 * row["top1"] for row in scores]
        below[0].plot(_of(scores, "step"), top1, color=_GREEN, linewidth=1.8, marker="o", ms=3)
        below[0].set_ylabel("select top-1, %")
    rates.set_xlabel("step")
    return figure


def _trend(points: Rows, ink: str) -> Figure:
    figure, axes = _figure(7.2, 2.8, ink=ink)
    measured = [(i, point) for i, point in enumerate(points) if point["top1"] is not None]
    for good, colour in ((True, _BLUE), (False, _ORANGE)):
        some = [(i, p) for i, p in measured if (p["state"] == "confirmed") is good]
        if some:
            x, top1 = [i for i, _ in some], [100 * p["top1"] for _, p in some]
            low = [100 * (p["top1"] - p["low"]) for _, p in some]
            high = [100 * (p["high"] - p["top1"]) for _, p in some]
            axes.errorbar(
                x, top1, [low, high], fmt="o", ms=5, color=colour, elinewidth=1.2, capsize=3
            )
    if measured:
        axes.plot(
            [i for i, _ in measured],
            [100 * p["top1"] for _, p in measured],
            color=ink,
            linewidth=0.8,
            alpha=0.6,
            zorder=0,
        )
    missing = [i for i, point in enumerate(points) if point["top1"] is None]
    if missing:
        level = min((100 * p["low"] for _, p in measured), default=0.0)
        axes.scatter(missing, [level] * len(missing), marker="x", s=45, color=_ORANGE)
    shown = range(0, len(points), max(1, len(points) // 8))
    dates = [datetime.fromisoformat(points[i]["time"]).strftime("%d %b %y") for i in shown]
    axes.set_xticks(list(shown), dates)
    axes.set_xlim(-0.5, max(len(points) - 0.5, 0.5))
    axes.set_ylabel("top-1, %")
    return figure


def _figure(width: float, height: float, *, rows: int = 1, ink: str = _INK) -> Any:
    """(figure, axes, ...); width and height in inches."""
    # Takes a third of a second to import, which most commands need not pay.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    ratios = [2.0] + [1.0] * (rows - 1)
    every = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for axes in every:
        _plain(axes, ink)
    return (figure, *every)


def _plain(axes: Axes, ink: str) -> None:
    axes.patch.set_alpha(0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink)
        spine.set_linewidth(0.8)
    axes.tick_params(colors=ink, labelsize=9, width=0.8)
    axes.grid(color=ink, alpha=0.15, linewidth=0.6)
    axes.xaxis.label.set(color=ink, fontsize=10)
    axes.yaxis.label.set(color=ink, fontsize=10)


def _of(rows: Rows, key: str) -> list[float]:
    return [row[key] for row in rows]


def _svg(figure: Figure, name: str) -> str:
    """An element for a page; equal data give equal bytes, other names other ids."""
    import matplotlib

    text = io.StringIO()
    # Text stays text: small, and in the page's own font.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    # Group ids repeat from figure to figure.
    return (
        svg.replace('id="', f'id="{name}-')
        .replace("url(#", f"url(#{name}-")
        .replace('href="#', f'href="#{name}-')
    )


def _png(figure: Figure) -> bytes:
    figure.patch.set(facecolor="white", alpha=1)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()
