"""The program of the card, run on a linear network whose logits NumPy computes too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save
from PIL import Image

from mixnet_core.exports.snippet import snippet

SIDE, CLASSES = 8, ("ant", "bee", "cat", "dog", "eel")
MEAN, STD = 100.0, 50.0
WEIGHTS = np.random.default_rng(0).normal(0, 0.05, (3 * SIDE * SIDE, 5)).astype(np.float32)
GREY = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(WEIGHTS, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    said = {"mean": json.dumps([MEAN] * 3), "std": json.dumps([STD] * 3)}
    said |= {"image_size": str(SIDE), "short_side": str(SIDE), "interpolation": "bilinear"}
    helper.set_model_props(model, said | {"classes": json.dumps(CLASSES)})
    save(model, str(tmp_path / "model.onnx"))
    path = tmp_path / "classify.py"
    path.write_text(snippet(str(tmp_path / "model.onnx")))
    return path


@pytest.mark.parametrize(
    "picture",
    [GREY, GREY.astype(np.uint16) * 256 + 7, np.repeat(GREY[..., None], 3, axis=2)],
    ids=["8 bits", "16 bits", "RGB"],
)
def test_its_shares_are_those_of_the_pixels_as_evaluation_reads_them(
    picture: np.ndarray, program: Path, tmp_path: Path
) -> None:
    Image.fromarray(picture).save(tmp_path / "picture.png")
    plane = (GREY.astype(np.float64) - MEAN) / STD
    logits = np.stack([plane] * 3).reshape(-1) @ WEIGHTS.astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum()
    order = shares.argsort()[::-1]
    done = subprocess.run(
        [sys.executable, program, tmp_path / "picture.png"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [name for _, name in rows] == [CLASSES[label] for label in order]
    found = [float(share.rstrip("%")) for share, _ in rows]
    assert found == pytest.approx(100 * shares[order], abs=0.01)
