"""Runs beside each other as one HTML page: no other file, no script, nothing of another host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from mixnet_core.evaluate.report.points import Points
from mixnet_core.evaluate.report.runs_plots import (
    COLOURS,
    MOST_LINES,
    dash_array,
    over_each_other,
)
from mixnet_core.evaluate.report.templates import template

# Key of a run's curves -> title, and whether the axis begins at zero.
_PLOTS = {
    "loss": ("Training loss, mean of each epoch", False),
    "top1": ("Top-1 on the select split, %", False),
    "speed": ("Images per second, all ranks", True),
}


def runs_page(
    runs: Sequence[Mapping[str, Any]],
    compared: Sequence[str],
    differences: Sequence[tuple[str, Sequence[str | None], str | None]],
    *,
    title: str,
    made: str,
) -> str:
    """Returns the page's HTML; equal arguments give equal text.

    Args:
        runs: name, recipe, variant, state, at_work, written (a text); epoch, epochs, loss, lr,
            best_top1, best_epoch, val_top1, images_per_second, data_wait, each may be None, shares
            in 0..1; and curves, of which `_PLOTS` names those that are drawn: (epoch, value) each.
        compared: names of the runs whose recipes are compared, in the order of `runs`.
        differences: of their recipes: key, each run's value or None, and the one that most have or
            None.
        made: when, as it is to be read.
    """
    with_lines = [run for run in runs if any(run["curves"].get(name) for name in _PLOTS)]
    drawn = with_lines[:MOST_LINES]
    plots = []
    for name, (words, from_zero) in _PLOTS.items():
        lines: list[Points] = [run["curves"].get(name) or () for run in drawn]
        if any(lines):
            plots.append(Markup(over_each_other(lines, name, words, from_zero=from_zero)))
    looks = {
        run["name"]: {"colour": number % COLOURS + 1, "dashes": dash_array(number)}
        for number, run in enumerate(drawn)
    }
    rows = [{**run, "line": looks.get(run["name"])} for run in runs]
    return template("runs_page.html").render(
        title=title,
        made=made,
        runs=rows,
        plots=plots,
        left_out=len(with_lines) - len(drawn),
        compared=[row for row in rows if row["name"] in compared],
        differences=differences,
    )
