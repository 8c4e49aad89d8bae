"""What this machine's cores and memory give in a second, and how much of it a case reaches."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.options import threads
from benchmarks.rounds import significant
from benchmarks.work import Work

_SECONDS = 1.0
_SIDE = 2048
# Of each thread's two arrays: more than its share of any cache.
_ELEMENTS = 32 << 20


@dataclass(frozen=True)
class Roofline:
    """The most that a probe saw.

    Attributes:
        gflops: 10^9 float32 operations a second, of NumPy's matrix product on all cores.
        gigabytes: 10^9 bytes a second, read and written, of copies in as many threads as cores.
    """

    gflops: float
    gigabytes: float

    def line(self, name: str, speed: float, work: Work) -> str:
        """Returns what a case reaches of it.

        Args:
            speed: images a second.
        """
        gflops, gigabytes = speed * work.gflop, speed * work.gigabytes
        return (
            f"roofline: {name} at {significant(speed)} img/s does {significant(gflops)} GFLOP/s, "
            f"{gflops / self.gflops:.0%} of {significant(self.gflops)}, and moves "
            f"{significant(gigabytes)} GB/s of activations, {gigabytes / self.gigabytes:.0%} of "
            f"{significant(self.gigabytes)}"
        )


def probe() -> Roofline:
    """Measures both, a second each."""
    draw = np.random.default_rng(0)
    left, right = (draw.random((_SIDE, _SIDE), np.float32) for _ in range(2))
    out = np.empty_like(left)
    product = _shortest(lambda: np.matmul(left, right, out=out))
    pairs = [
        (np.zeros(_ELEMENTS, np.float32), np.ones(_ELEMENTS, np.float32)) for _ in range(threads())
    ]
    with ThreadPoolExecutor(threads()) as pool:
        copies = _shortest(lambda: list(pool.map(lambda pair: np.copyto(*pair), pairs)))
    return Roofline(
        gflops=2 * _SIDE**3 / product / 1e9,
        gigabytes=2 * 4 * _ELEMENTS * len(pairs) / copies / 1e9,
    )


def _shortest(call: Callable[[], object]) -> float:
    """Seconds of the quickest call within a second, after one that warms up."""
    call()
    until = time.perf_counter() + _SECONDS
    taken = []
    while not taken or time.perf_counter() < until:
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return min(taken)
