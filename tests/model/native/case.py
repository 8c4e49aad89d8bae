"""A call of a compiled operator and what must come out of it, to within float32's rounding.

float32 rounds a sum by some 1e-7 of the sum of its terms' absolute values, however small the sum
itself is, so that is what an element's error is compared with.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.model.native.compiled import Floats
from tests.model.native.oracle import Array

# Of the sum of the terms' absolute values. The longest float32 sums here are some 300 additions,
# each off by at most 6e-8 either way; the worst seen, with vectors of 16, is half of this.
SUMS = 6e-7


@dataclass(frozen=True)
class Expected:
    """Of one output: its float64 values, and how far each may be off."""

    values: Array
    off: Array


@dataclass(frozen=True)
class Case:
    label: str
    operator: str
    inputs: tuple[Floats, ...]
    shapes: tuple[tuple[int, ...], ...]
    expected: Callable[[], list[Expected]]


def draw(label: str, *shapes: tuple[int, ...]) -> list[Floats]:
    """Standard normal, the same for the same label."""
    random = np.random.default_rng(zlib.crc32(label.encode()))
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def linear(function: Callable[..., Array | Sequence[Array]], *inputs: Floats) -> list[Expected]:
    """Of a function whose results are sums of products of its inputs."""
    exact, terms = (
        result if isinstance(result, tuple | list) else [result]
        for result in (
            function(*[a.astype(np.float64) for a in inputs]),
            function(*[np.abs(a.astype(np.float64)) for a in inputs]),
        )
    )
    return [Expected(e, SUMS * t) for e, t in zip(exact, terms, strict=True)]
