"""What an ONNX file of others, or an exported one, shows before it computes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from mixnet_core.errors import CheckpointMismatch
from mixnet_core.evaluate.onnx_engine import read_network


def graph(path: Path, kind: int) -> Path:
    """A file that takes (1, 3, 8, 8) of a type to (1, 3) logits."""
    images = helper.make_tensor_value_info("images", kind, [1, 3, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["float"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [images], [logits]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    helper.set_model_props(model, {"classes": '["a", "b", "c"]', "image_size": "8"})
    onnx.save(model, str(path))
    return path


def test_its_texts_are_read(tmp_path: Path) -> None:
    found = read_network(graph(tmp_path / "w.onnx", TensorProto.FLOAT))
    assert (found.classes, found.in_channels, found.image_size) == (3, 3, 8)
    assert found.said["classes"] == '["a", "b", "c"]'


def test_one_that_takes_pixels_is_refused_by_what_it_takes(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMismatch, match="takes u8 pixels"):
        read_network(graph(tmp_path / "w.onnx", TensorProto.UINT8))
