"""Gradients, averaged over ranks or unscaled. Loops over 400 tensors in a graph exceed MindSpore's
call depth, so these map instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from mindspore import Parameter, Tensor, nn, ops

_flat = ops.MultitypeFuncGraph("flat")
_part = ops.MultitypeFuncGraph("part")
_scaled = ops.MultitypeFuncGraph("scaled")


@_flat.register("Tensor")
def _flat_tensor(gradient: Tensor) -> Tensor:
    return ops.reshape(gradient, (-1,))


@_part.register("Tensor", "Number", "Number", "Tensor")
def _part_tensor(joined: Tensor, start: int, size: int, like: Tensor) -> Tensor:
    return ops.reshape(ops.slice(joined, (start,), (size,)), ops.shape(like))


@_scaled.register("Number", "Tensor")
def _scaled_tensor(factor: float, gradient: Tensor) -> Tensor:
    return gradient * factor


class MeanOverRanks(nn.Cell):
    """Gradients -> their mean over ranks, through one AllReduce of all of them joined.

    On two CPU ranks, MixNet-S at 16 px, one AllReduce a tensor (nn.DistributedGradReducer) makes a
    step take twice as long; `benchmarks` has the figures.
    """

    def __init__(self, weights: Sequence[Parameter], ranks: int) -> None:
        super().__init__()
        self.factor = 1.0 / ranks
        self.sizes = tuple(int(weight.size) for weight in weights)
        self.starts = (0, *accumulate(self.sizes))[:-1]
        self.all_reduce = ops.AllReduce()
        self.map = ops.HyperMap()

    def construct(self, gradients: Any) -> Any:
        joined = self.all_reduce(ops.concat(self.map(_flat, gradients))) * self.factor
        return self.map(ops.partial(_part, joined), self.starts, self.sizes, gradients)


class Scaled(nn.Cell):
    """Gradients -> gradients times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.map = ops.HyperMap()

    def construct(self, gradients: Any) -> Any:
        return self.map(ops.partial(_scaled, self.factor), gradients)
