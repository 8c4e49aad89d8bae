"""The report's plots: SVG that a page takes in as its own elements, PNG for a dashboard."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mixnet_core.evaluate.report.plot_style import (
    PAGE,
    PAPER,
    Palette,
    drawing,
    panels,
    png,
    svg_element,
    ticks,
    titled,
    whole,
)
from mixnet_core.evaluate.report.points import Points, Rows, apart, finite, thinned


def reliability_plot(bins: Rows) -> str:
    """Draws the share of right predictions over their confidence, and the images of each bin.

    Args:
        bins: low, high, confidence and accuracy in 0..1, and count; empty ones are left out.

    Returns:
        An SVG element; equal bins give equal bytes.
    """
    with drawing():
        return svg_element(_reliability(bins, PAGE), "reliability", "Right answers over confidence")


def training_curves(curves: Mapping[str, Rows | None]) -> str:
    """Draws the training loss with the epochs' means, top-1 on the select split, and learning rate.

    Args:
        curves: steps (step, loss, lr), epochs (step, loss), scores (step, top1 in 0..1), and of a
            training that is watched speeds (step, images_per_second, data_wait in 0..1). A value
            may be None or not finite: its point is left out.

    Returns:
        An SVG element; equal curves give equal bytes.
    """
    with drawing():
        return svg_element(_curves(curves, PAGE), "curves", "Course of the training")


def curves_png(curves: Mapping[str, Rows | None]) -> bytes:
    """Draws `training_curves` on white, as a PNG."""
    with drawing():
        return png(_curves(curves, PAPER))


def trend_plot(points: Rows) -> str:
    """Draws top-1 with its interval over time, and crosses where nothing was measured.

    Args:
        points: time (ISO 8601), state, and top1, low, high in 0..1 or None.

    Returns:
        An SVG element; equal points give equal bytes.

    Raises:
        ValueError: a time is not ISO 8601.
    """
    with drawing():
        return svg_element(_trend(points, PAGE), "trend", "Top-1 over time")


def trend_png(points: Rows) -> bytes:
    """Draws `trend_plot` on white, as a PNG; raises what that does."""
    with drawing():
        return png(_trend(points, PAPER))


def utc(time: str) -> datetime:
    """Reads a time in ISO 8601; without an offset it is UTC.

    Raises:
        ValueError: it is none.
    """
    parsed = datetime.fromisoformat(time)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _reliability(bins: Rows, colours: Palette) -> Any:
    filled = [item for item in bins if item["count"]]
    figure, (shares, counts) = panels(4.6, 4.5, (3.2, 1), colours)
    titled(shares, "Right answers, %", colours)
    titled(counts, "Images", colours)
    shares.plot(
        [0, 100], [0, 100], color=colours.ink, alpha=0.6, linewidth=1, linestyle=(0, (4, 3))
    )
    most = max((item["count"] for item in filled), default=1)
    for item in filled:
        x, y = 100 * item["confidence"], 100 * item["accuracy"]
        shares.plot([x, x], [x, y], color=colours.second, linewidth=2.2, solid_capstyle="butt")
        # Area by the number of images, or bins of one image look as sure as bins of a thousand.
        size = 18 + 80 * item["count"] / most
        look = {"color": colours.first, "linewidths": 0, "zorder": 3}
        # Whole, also on the edge of the plot.
        shares.scatter([x], [y], s=size, clip_on=False, **look)
        middle, width = 50 * (item["low"] + item["high"]), 100 * (item["high"] - item["low"])
        counts.bar(middle, item["count"], 0.86 * width, color=colours.first, linewidth=0)
    shares.set_xlim(-2, 102)
    shares.set_ylim(-2, 102)
    counts.set_ylim(bottom=0)
    counts.set_xlabel("Confidence, %")
    ticks(counts.yaxis, 2, whole, integer=True)
    return figure


def _curves(curves: Mapping[str, Rows | None], colours: Palette) -> Any:
    steps, epochs = curves.get("steps") or (), curves.get("epochs") or ()
    scores, speeds = curves.get("scores") or (), curves.get("speeds") or ()
    waits = finite(speeds, "data_wait")
    drawn: list[tuple[float, Callable[..., None], tuple[Rows | Points, ...]]] = [
        (2.6, _loss_panel, (steps, epochs)),
        *([(1.3, _score_panel, (scores,))] if scores else []),
        (1.0, _rate_panel, (steps,)),
        *([(1.0, _speed_panel, (speeds,))] if speeds else []),
        *([(1.0, _wait_panel, (waits,))] if waits else []),
    ]
    ratios = [ratio for ratio, _, _ in drawn]
    figure, axes = panels(4.6, 1.1 + 0.85 * sum(ratios), ratios, colours)
    for (_, draw, given), place in zip(drawn, axes, strict=True):
        draw(place, *given, colours)
    axes[-1].set_xlabel("Step")
    ticks(axes[-1].xaxis, 5, whole, integer=True)
    return figure


def _loss_panel(axes: Any, steps: Rows, epochs: Rows, colours: Palette) -> None:
    titled(axes, "Training loss", colours)
    x, y = thinned(finite(steps, "loss"))
    axes.plot(x, y, color=colours.first, alpha=0.65, linewidth=1, label="logged step")
    x, y = apart(finite(epochs, "loss"))
    axes.plot(
        x, y, color=colours.second, marker="o", markersize=3.5, label="epoch mean, at its end"
    )
    # Beside the title: inside, lines cross its words.
    above = {"loc": "lower right", "bbox_to_anchor": (1.02, 0.98), "ncols": 2, "columnspacing": 1.2}
    axes.legend(**above, frameon=False, fontsize=9, labelcolor=colours.ink)


def _score_panel(axes: Any, scores: Rows, colours: Palette) -> None:
    titled(axes, "Top-1 on the select split, %", colours)
    x, y = [row["step"] for row in scores], [100 * row["top1"] for row in scores]
    axes.plot(x, y, color=colours.third, marker="o", markersize=3.5)
    ticks(axes.yaxis, 3, "{:g}".format)


def _rate_panel(axes: Any, steps: Rows, colours: Palette) -> None:
    titled(axes, "Learning rate", colours)
    x, y = thinned(finite(steps, "lr"))
    axes.plot(x, y, color=colours.first, linewidth=1.4)
    axes.set_ylim(bottom=0)
    ticks(axes.yaxis, 3, "{:g}".format)


def _speed_panel(axes: Any, speeds: Rows, colours: Palette) -> None:
    titled(axes, "Images per second, all ranks", colours)
    x, y = thinned(finite(speeds, "images_per_second"))
    axes.plot(x, y, color=colours.first, linewidth=1)
    axes.set_ylim(bottom=0)
    ticks(axes.yaxis, 3, whole)


def _wait_panel(axes: Any, waits: Points, colours: Palette) -> None:
    titled(axes, "Time that rank 0 waited for images, %", colours)
    x, y = thinned([(step, 100 * share) for step, share in waits])
    axes.plot(x, y, color=colours.second, linewidth=1)
    axes.set_ylim(bottom=0)
    ticks(axes.yaxis, 3, "{:g}".format)


def _trend(points: Rows, colours: Palette) -> Any:
    figure, (axes,) = panels(5.4, 2.9, (1,), colours)
    titled(axes, "Top-1, %", colours)
    timed = [(utc(point["time"]), point) for point in points]
    measured = [(time, point) for time, point in timed if point["top1"] is not None]
    # Not a number breaks the line: nobody knows what was between.
    y = [math.nan if point["top1"] is None else 100 * point["top1"] for _, point in timed]
    axes.plot([time for time, _ in timed], y, color=colours.ink, alpha=0.45, linewidth=1, zorder=1)
    good = [(time, point) for time, point in measured if point["state"] == "confirmed"]
    bad = [(time, point) for time, point in measured if point["state"] != "confirmed"]
    _with_intervals(axes, good, color=colours.first, fmt="o", label="confirmed")
    _with_intervals(axes, bad, color=colours.second, fmt="D", label="measured, not confirmed")
    lost = [time for time, point in timed if point["top1"] is None]
    if lost:
        # At the foot of the plot wherever that is: nothing was measured, so it has no height.
        foot = {"transform": axes.get_xaxis_transform(), "label": "nothing measured"}
        look = {"fmt": "x", "markersize": 7, "markeredgewidth": 1.8, "color": colours.second}
        axes.errorbar(lost, [0.06] * len(lost), **look, **foot)
    ticks(axes.yaxis, 5, "{:g}".format)
    if not measured:
        axes.set_yticks([])
    if timed:
        first, last = min(time for time, _ in timed), max(time for time, _ in timed)
        # A single point has no span; half a day of room then.
        room = max((last - first) / 25, timedelta(hours=12))
        axes.set_xlim(first - room, last + room)
        axes.xaxis.get_offset_text().set(color=colours.ink, fontsize=9)
        above = {"loc": "outside upper left", "ncols": 3, "frameon": False}
        figure.legend(fontsize=9, labelcolor=colours.ink, **above)
    return figure


def _with_intervals(axes: Any, timed: Sequence[tuple[datetime, Any]], **look: Any) -> None:
    if timed:
        low, top1, high = ([100 * p[key] for _, p in timed] for key in ("low", "top1", "high"))
        # Rounded figures may put the middle a hair outside, which Matplotlib refuses.
        below = [max(0.0, m - end) for m, end in zip(top1, low, strict=True)]
        above = [max(0.0, end - m) for m, end in zip(top1, high, strict=True)]
        look = {"markersize": 5.5, "elinewidth": 1.3, "capsize": 3, **look}
        axes.errorbar([time for time, _ in timed], top1, (below, above), **look)
