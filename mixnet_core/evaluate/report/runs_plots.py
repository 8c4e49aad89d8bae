"""Curves of several runs over each other, as SVG elements of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixnet_core.evaluate.report.plot_style import (
    PAGE,
    drawing,
    panels,
    svg_element,
    ticks,
    titled,
)
from mixnet_core.evaluate.report.points import Points, thinned

# Of lines of one colour.
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.5, 1.5)))
COLOURS = len(PAGE.series)
# More lines than these cannot be told apart.
MOST_LINES = COLOURS * len(_DASHES)


def over_each_other(
    lines: Sequence[Points], name: str, title: str, *, from_zero: bool = False
) -> str:
    """Draws a line a run over the epochs.

    Args:
        lines: (epoch, value) each, at most `MOST_LINES`; of line N the colour is `--series-` of
            N % `COLOURS` + 1. An empty one keeps its colour.
        name: which no other plot of the page has.
        title: what the values are; it stands above the plot.
        from_zero: whether the axis begins there.

    Returns:
        An SVG element; equal lines give equal bytes.
    """
    with drawing():
        figure, (axes,) = panels(4.6, 2.9, (1,), PAGE)
        titled(axes, title, PAGE)
        for number, line in enumerate(lines):
            x, y = thinned(line)
            look = {"color": PAGE.series[number % COLOURS], "linestyle": _DASHES[number // COLOURS]}
            # A single point has no line.
            axes.plot(x, y, **look, linewidth=1.4, marker="o" if len(x) < 2 else None, markersize=4)
        if from_zero:
            axes.set_ylim(bottom=0)
        ticks(axes.yaxis, 5, "{:g}".format)
        ticks(axes.xaxis, 6, "{:g}".format)
        axes.set_xlabel("Epoch")
        return svg_element(figure, name, title)


def dash_array(number: int) -> str:
    """Returns line N's dashes as SVG writes them, "" for none."""
    return ("", "7 3", "2 2")[number // COLOURS % len(_DASHES)]
