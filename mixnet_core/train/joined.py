"""Many tensors as one long vector, and back: one AllReduce, one norm, one check for all of them.

On two CPU ranks, MixNet-S at 16 px, one AllReduce per tensor (nn.DistributedGradReducer) makes a
step take twice as long; `benchmarks` has the figures. Loops over 400 tensors in a graph exceed
MindSpore's call depth, so these map instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from mindspore import Parameter, Tensor, nn, ops

_flat = ops.MultitypeFuncGraph("flat")
_part = ops.MultitypeFuncGraph("part")
_scaled = ops.MultitypeFuncGraph("scaled")
_assigned = ops.MultitypeFuncGraph("assigned")
_added = ops.MultitypeFuncGraph("added")
_cleared = ops.MultitypeFuncGraph("cleared")
_averaged = ops.MultitypeFuncGraph("averaged")


@_flat.register("Tensor")
def _flat_tensor(tensor: Tensor) -> Tensor:
    return ops.reshape(tensor, (-1,))


@_part.register("Tensor", "Number", "Number", "Tensor")
def _part_tensor(joined: Tensor, start: int, size: int, like: Tensor) -> Tensor:
    return ops.reshape(ops.slice(joined, (start,), (size,)), ops.shape(like))


@_scaled.register("Number", "Tensor")
def _scaled_tensor(factor: float, tensor: Tensor) -> Tensor:
    return tensor * factor


@_assigned.register("Tensor", "Tensor")
def _assigned_tensor(parameter: Parameter, value: Tensor) -> Tensor:
    return ops.assign(parameter, value)


@_added.register("Tensor", "Tensor")
def _added_tensor(parameter: Parameter, value: Tensor) -> Tensor:
    return ops.assign_add(parameter, value)


@_cleared.register("Tensor")
def _cleared_tensor(parameter: Parameter) -> Tensor:
    return ops.assign(parameter, ops.zeros_like(parameter))


@_averaged.register("Tensor", "Tensor", "Tensor")
def _averaged_tensor(share: Tensor, average: Parameter, value: Tensor) -> Tensor:
    return ops.assign_add(average, (value - average) * share)


class Joined(nn.Cell):
    """Joins tensors into one vector of all their elements, and takes it apart again.

    Args:
        like: parameters of the tensors' shapes, in their order.

    Attributes:
        size: the vector's length.
    """

    def __init__(self, like: Sequence[Parameter]) -> None:
        super().__init__()
        self.sizes = tuple(int(parameter.size) for parameter in like)
        self.starts = (0, *accumulate(self.sizes))[:-1]
        self.size = sum(self.sizes)
        self.map = ops.HyperMap()

    def construct(self, tensors: Any) -> Tensor:
        return ops.concat(self.map(_flat, tensors))

    def apart(self, joined: Tensor, like: Any) -> Any:
        """Cuts the vector into tensors again.

        Args:
            joined: the vector, (size,).
            like: tensors of the shapes that are wanted, in their order.
        """
        return self.map(ops.partial(_part, joined), self.starts, self.sizes, like)


class Mapped(nn.Cell):
    """Does the same to each of many tensors.

    parameters, averages, values and tensors are tuples of equal lengths; what stands in the same
    position has the same shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.map = ops.HyperMap()

    def scale(self, tensors: Any, factor: float) -> Any:
        """Returns each of the tensors times the constant `factor`."""
        return self.map(ops.partial(_scaled, factor), tensors)

    def assign(self, parameters: Any, values: Any) -> Any:
        """Sets each of the parameters to its value."""
        return self.map(_assigned, parameters, values)

    def add(self, parameters: Any, values: Any) -> Any:
        """Adds to each of the parameters its value."""
        return self.map(_added, parameters, values)

    def clear(self, parameters: Any) -> Any:
        """Sets each of the parameters to 0."""
        return self.map(_cleared, parameters)

    def average(self, averages: Any, values: Any, share: Tensor) -> Any:
        """Moves each of the averages towards its value: averages += (values - averages) * share.

        Args:
            averages: parameters.
            values: what is averaged.
            share: a scalar in 0..1; 1 makes each average its value.
        """
        return self.map(ops.partial(_averaged, share), averages, values)
