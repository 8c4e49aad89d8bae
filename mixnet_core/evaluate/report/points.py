"""The points of a curve: those that are numbers, and of very many as few as a plot can show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

Rows = Sequence[Mapping[str, Any]]
# (step, value) each.
Points = Sequence[tuple[float, float]]

# Steps of a long training are thinned out to two for each of so many columns: a page stays small.
_COLUMNS = 300


def finite(rows: Rows, key: str) -> list[tuple[float, float]]:
    """Returns (step, value) of the rows whose value is a finite number."""
    found = [(row["step"], row.get(key)) for row in rows]
    return [(step, value) for step, value in found if value is not None and math.isfinite(value)]


def thinned(points: Points) -> tuple[list[float], list[float]]:
    """Returns steps and values, thinned out where there are many.

    Each column keeps its lowest and its highest point: no spike is lost.
    """
    size = math.ceil(len(points) / _COLUMNS)
    if size > 2:
        columns = [points[i : i + size] for i in range(0, len(points), size)]
        ends = [{min(c, key=itemgetter(1)), max(c, key=itemgetter(1))} for c in columns]
        points = [point for pair in ends for point in sorted(pair)]
    return apart(points)


def apart(points: Points) -> tuple[list[float], list[float]]:
    """Returns the steps of points, and their values."""
    return [step for step, _ in points], [value for _, value in points]
