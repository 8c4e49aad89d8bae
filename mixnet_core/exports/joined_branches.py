"""A graph whose branches end in what they compute: for eight bits, which stop at a concatenation.

A grouped 1x1 convolution is exported as slices, a convolution each, their concatenation and one
BatchNorm; a mixed depthwise one likewise, with a kernel size each. Float32 runtimes put that
together again. With a rounding step between its parts they do not, and each part is rounded, scaled
and shifted for itself: eight bits were slower than float32. So, where a BatchNorm follows branches:

    1x1, of equal shapes    one convolution with zeros between the groups, the BatchNorm in its
                            weights
    others                  the BatchNorm in each branch's weights, the activation in each branch

What is computed stays the same but for the last bits (the weights are multiplied in float64).

Zeros cost nothing that could be measured. On a CPU with AMX, OpenVINO 2026.4 computes another thing
in eight bits where a convolution has groups: top-1 fell by 69 points, and a file that was proven on
another CPU would have gone there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def join_branches(model: Any) -> None:
    """Rewrites an `onnx.ModelProto` in place.

    Args:
        model: as `onnx_graph.whole_graph` returns it; what has another form is left as it is.
    """
    from onnx import numpy_helper

    graph = _Graph(model.graph)
    for concat in [node for node in model.graph.node if node.op_type == "Concat"]:
        branches = graph.branches(concat)
        if branches is None:
            continue
        if branches.are_groups:
            graph.put_grouped(branches)
        elif branches.activation:
            graph.put_folded(branches)
    nodes = list(graph.nodes())
    used = {name for node in nodes for name in node.input}
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in graph.values.items() if name in used
    )


def depthwise(model: Any) -> list[str]:
    """Returns the names of an `onnx.ModelProto`'s depthwise convolutions; gives them names."""
    values = {given.name: given for given in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type == "Conv" and _attribute(node, "group") == values[node.input[1]].dims[0]:
            node.name = node.name or node.output[0]
            found.append(node.name)
    return found


@dataclass(frozen=True)
class _Branches:
    """Holds the nodes from the slices of one tensor to the BatchNorm and activation behind them."""

    slices: list[Any]
    convolutions: list[Any]
    concat: Any
    norm: Any
    activation: list[Any]
    weights: list[Array]
    scale: Array
    shift: Array

    @property
    def are_groups(self) -> bool:
        """Tells whether they are one convolution with groups, and none of them has its own."""
        (shape, *others) = {weight.shape for weight in self.weights}
        whole = all(_attribute(node, "group") == 1 for node in self.convolutions)
        return not others and whole and shape[2:] == (1, 1)


class _Graph:
    """Holds a graph's nodes and values, and what takes whose place."""

    def __init__(self, graph: Any) -> None:
        from onnx import numpy_helper

        self.values = {given.name: numpy_helper.to_array(given) for given in graph.initializer}
        self._nodes = list(graph.node)
        self._makers = {name: node for node in graph.node for name in node.output}
        self._takers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self._takers.setdefault(name, []).append(node)
        self._gone: set[int] = set()
        self._instead: dict[int, list[Any]] = {}

    def nodes(self) -> Iterator[Any]:
        for node in self._nodes:
            if id(node) in self._instead:
                yield from self._instead[id(node)]
            elif id(node) not in self._gone:
                yield node

    def branches(self, concat: Any) -> _Branches | None:
        """Returns what a concatenation joins, if it is what this module is for."""
        convolutions: list[Any] = [self._makers.get(name) for name in concat.input]
        if any(node is None or node.op_type != "Conv" for node in convolutions):
            return None
        slices: list[Any] = [self._makers.get(node.input[0]) for node in convolutions]
        weights: list[Any] = [self.values.get(node.input[1]) for node in convolutions]
        if any(node is None or node.op_type != "Slice" for node in slices):
            return None
        if any(weight is None for weight in weights) or any(
            len(node.input) > 2 for node in convolutions
        ):
            return None
        norms = self._takers.get(concat.output[0], [])
        if [node.op_type for node in norms] != ["BatchNormalization"]:
            return None
        if not self._cover_one_tensor(slices, weights, convolutions):
            return None
        scale, shift = self._scale_and_shift(norms[0])
        return _Branches(
            slices=slices,
            convolutions=convolutions,
            concat=concat,
            norm=norms[0],
            activation=self._activation(norms[0]),
            weights=[np.asarray(weight, np.float64) for weight in weights],
            scale=scale,
            shift=shift,
        )

    def put_grouped(self, branches: _Branches) -> None:
        first, name = branches.convolutions[0], branches.norm.output[0]
        weight = _block_diagonal(branches.weights) * branches.scale[:, None, None, None]
        node = self._convolution(first, branches.slices[0].input[0], name, weight, branches.shift)
        _set_group(node, 1)
        self._replace(branches.norm, [node])
        self._drop(*branches.slices, *branches.convolutions, branches.concat)

    def put_folded(self, branches: _Branches) -> None:
        from onnx import helper

        made, names, first = [], [], 0
        for old, weight in zip(branches.convolutions, branches.weights, strict=True):
            rows = slice(first, first + len(weight))
            first = rows.stop
            name = f"{old.output[0]}_normed"
            scaled = weight * branches.scale[rows, None, None, None]
            made.append(self._convolution(old, old.input[0], name, scaled, branches.shift[rows]))
            for node in branches.activation:
                again = type(node)()
                again.CopyFrom(node)
                _rename(again, branches.norm.output[0], name, f"_{old.output[0]}")
                made.append(again)
            names.append(made[-1].output[0])
        last = branches.activation[-1]
        made.append(helper.make_node("Concat", names, [last.output[0]], axis=1))
        self._replace(last, made)
        self._drop(*branches.convolutions, branches.concat, branches.norm)
        self._drop(*branches.activation[:-1])

    def _cover_one_tensor(
        self, slices: list[Any], weights: list[Any], convolutions: list[Any]
    ) -> bool:
        """Tells whether the slices are one tensor's channels, all of them, in order."""
        at = 0
        for node, weight, convolution in zip(slices, weights, convolutions, strict=True):
            bounds = [self.values.get(name) for name in node.input[1:]]
            if len(bounds) != 4 or any(value is None for value in bounds):
                return False
            start, end, axes, steps = (np.asarray(value).tolist() for value in bounds)
            width = weight.shape[1] * _attribute(convolution, "group")
            same = node.input[0] == slices[0].input[0]
            if not same or (start, end, axes, steps) != ([at], [at + width], [1], [1]):
                return False
            at += width
        return True

    def _scale_and_shift(self, norm: Any) -> tuple[Array, Array]:
        gamma, beta, mean, variance = (
            np.asarray(self.values[name], np.float64) for name in norm.input[1:]
        )
        scale = gamma / np.sqrt(variance + _attribute(norm, "epsilon"))
        return scale, beta - mean * scale

    def _activation(self, norm: Any) -> list[Any]:
        """Returns the nodes of ReLU or swish behind a BatchNorm, the last one last; or none."""
        takers = sorted(self._takers.get(norm.output[0], []), key=lambda node: str(node.op_type))
        kinds = [node.op_type for node in takers]
        if kinds == ["Relu"]:
            return takers
        if kinds == ["Mul", "Sigmoid"]:
            multiply, sigmoid = takers
            alone = self._takers[sigmoid.output[0]] == [multiply]
            if alone and set(multiply.input) == {norm.output[0], sigmoid.output[0]}:
                return [sigmoid, multiply]
        return []

    def _convolution(self, old: Any, given: str, name: str, weight: Array, shift: Array) -> Any:
        from onnx import helper

        self.values[f"{name}_weight"] = weight.astype(np.float32)
        self.values[f"{name}_bias"] = shift.astype(np.float32)
        node = helper.make_node("Conv", [given, f"{name}_weight", f"{name}_bias"], [name])
        node.attribute.extend(old.attribute)
        return node

    def _replace(self, node: Any, nodes: list[Any]) -> None:
        self._instead[id(node)] = nodes

    def _drop(self, *nodes: Any) -> None:
        self._gone.update(id(node) for node in nodes)


def _attribute(node: Any, name: str) -> Any:
    from onnx import helper

    defaults = {"group": 1, "epsilon": 1e-5}
    found = {given.name: given for given in node.attribute}
    return helper.get_attribute_value(found[name]) if name in found else defaults[name]


def _set_group(node: Any, groups: int) -> None:
    from onnx import helper

    kept = [given for given in node.attribute if given.name != "group"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("group", groups)])


def _rename(node: Any, given: str, name: str, ending: str) -> None:
    """Gives a copied activation another input, and names of its own."""
    inputs = [name if old == given else old + ending for old in node.input]
    outputs = [old + ending for old in node.output]
    del node.input[:], node.output[:]
    node.input.extend(inputs)
    node.output.extend(outputs)
    node.name = outputs[0]


def _block_diagonal(weights: list[Array]) -> Array:
    """Returns (O, C, 1, 1) of groups' weights (o, c, 1, 1): each in its own rows and columns."""
    rows, columns = (sum(each.shape[axis] for each in weights) for axis in (0, 1))
    whole = np.zeros((rows, columns, *weights[0].shape[2:]))
    row = column = 0
    for each in weights:
        whole[row : row + each.shape[0], column : column + each.shape[1]] = each
        row, column = row + each.shape[0], column + each.shape[1]
    return whole
