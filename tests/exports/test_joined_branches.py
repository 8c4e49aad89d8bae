"""Branches put together, judged by ONNX Runtime on the graph as it was."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mixnet_core.exports.joined_branches import depthwise, join_branches

onnxruntime = pytest.importorskip("onnxruntime")

DRAW = np.random.default_rng(5)
CHANNELS, SIZE = 12, 6


def graph(
    bounds: list[tuple[int, int]], kernels: list[int], outputs: list[int], activation: str,
    *, groups: bool = False,
) -> onnx.ModelProto:  # fmt: skip
    """Slices of one tensor, a convolution each, their concatenation, BatchNorm and activation."""
    values: dict[str, Any] = {"axes": np.array([1]), "steps": np.array([1])}
    nodes = []
    for number, ((start, end), kernel, output) in enumerate(
        zip(bounds, kernels, outputs, strict=True)
    ):
        width = end - start
        values |= {f"start{number}": np.array([start]), f"end{number}": np.array([end])}
        shape = (output, 1 if groups else width, kernel, kernel)
        values[f"weight{number}"] = DRAW.standard_normal(shape, np.float32)
        slices = ["images", f"start{number}", f"end{number}", "axes", "steps"]
        nodes.append(helper.make_node("Slice", slices, [f"part{number}"]))
        nodes.append(
            helper.make_node(
                "Conv",
                [f"part{number}", f"weight{number}"],
                [f"convolved{number}"],
                kernel_shape=[kernel, kernel],
                pads=[kernel // 2] * 4,
                group=width if groups else 1,
                strides=[2, 2],
            )
        )  # fmt: skip
    parts = [f"convolved{number}" for number in range(len(bounds))]
    nodes.append(helper.make_node("Concat", parts, ["joined"], axis=1))
    for name in ("gamma", "beta", "mean"):
        values[name] = DRAW.standard_normal(sum(outputs), np.float32)
    values["variance"] = DRAW.uniform(0.1, 2, sum(outputs)).astype(np.float32)
    norm = ["joined", "gamma", "beta", "mean", "variance"]
    nodes.append(helper.make_node("BatchNormalization", norm, ["normed"], epsilon=1e-3))
    if activation == "relu":
        nodes.append(helper.make_node("Relu", ["normed"], ["logits"]))
    elif activation == "swish":
        nodes.append(helper.make_node("Sigmoid", ["normed"], ["gate"]))
        nodes.append(helper.make_node("Mul", ["normed", "gate"], ["logits"]))
    else:
        nodes.append(helper.make_node("Identity", ["normed"], ["logits"]))
    return helper.make_model(
        helper.make_graph(
            nodes,
            "branches",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 12, SIZE, SIZE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", sum(outputs), 3, 3])],
            [numpy_helper.from_array(value, name) for name, value in values.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def computed(model: onnx.ModelProto) -> Any:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    images = np.random.default_rng(1).standard_normal((3, CHANNELS, SIZE, SIZE), np.float32)
    return session.run(None, {"images": images})[0]


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


EVEN = [(0, 4), (4, 8), (8, 12)]


@pytest.mark.parametrize("activation", ["relu", "swish", "none"])
def test_pointwise_branches_of_one_shape_become_one_convolution(activation: str) -> None:
    model = graph(EVEN, [1, 1, 1], [5, 5, 5], activation)
    before = computed(model)
    join_branches(model)
    onnx.checker.check_model(model, full_check=True)
    (conv,) = (node for node in model.graph.node if node.op_type == "Conv")
    # OpenVINO's eight bits with groups are wrong on a CPU with AMX.
    assert [a.i for a in conv.attribute if a.name == "group"] in ([], [1])
    assert not kinds(model).keys() & {"Slice", "Concat", "BatchNormalization"}
    np.testing.assert_allclose(computed(model), before, rtol=1e-5, atol=1e-5)
    assert depthwise(model) == []


@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_depthwise_branches_take_batchnorm_and_activation_into_each(activation: str) -> None:
    model = graph([(0, 5), (5, 8), (8, 12)], [3, 5, 7], [5, 3, 4], activation, groups=True)
    before = computed(model)
    join_branches(model)
    onnx.checker.check_model(model, full_check=True)
    assert "BatchNormalization" not in kinds(model)
    assert kinds(model)["Relu" if activation == "relu" else "Sigmoid"] == 3
    assert model.graph.node[-1].op_type == "Concat"
    np.testing.assert_allclose(computed(model), before, rtol=1e-5, atol=1e-5)
    assert len(set(depthwise(model))) == 3


def test_uneven_pointwise_branches_stay_branches() -> None:
    model = graph([(0, 5), (5, 12)], [1, 1], [4, 4], "relu")
    before = computed(model)
    join_branches(model)
    assert kinds(model)["Conv"] == 2
    np.testing.assert_allclose(computed(model), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "bounds",
    [[(4, 8), (0, 4), (8, 12)], [(0, 4), (0, 4), (8, 12)]],
    ids=["in another order", "one twice"],
)
def test_slices_that_are_not_the_whole_tensor_in_order_are_left_alone(
    bounds: list[tuple[int, int]],
) -> None:
    model = graph(bounds, [1, 1, 1], [5, 5, 5], "relu")
    before, nodes = computed(model), kinds(model)
    join_branches(model)
    assert kinds(model) == nodes
    np.testing.assert_array_equal(computed(model), before)


def test_an_activation_that_somebody_else_takes_too_stays_where_it_is() -> None:
    model = graph(EVEN, [3, 3, 3], [4, 4, 4], "swish", groups=True)
    model.graph.node.append(helper.make_node("Identity", ["gate"], ["gates"]))
    model.graph.output.append(
        helper.make_tensor_value_info("gates", TensorProto.FLOAT, ["N", 12, 3, 3])
    )
    before = computed(model)
    join_branches(model)
    np.testing.assert_allclose(computed(model), before, rtol=1e-5, atol=1e-5)
