"""The program of the card, run on a linear network whose logits NumPy computes too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
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
    return program_in(tmp_path)


def program_in(folder: Path, **about: str) -> Path:
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
    helper.set_model_props(model, said | {"classes": json.dumps(CLASSES)} | about)
    save(model, str(folder / "model.onnx"))
    path = folder / "classify.py"
    path.write_text(snippet(str(folder / "model.onnx")))
    return path


@pytest.mark.parametrize(
    ("picture", "suffix"),
    [
        (GREY, "png"),
        (GREY.astype(np.uint16) * 256 + 7, "png"),
        (np.repeat(GREY[..., None], 3, axis=2), "png"),
        (np.repeat(GREY[..., None], 3, axis=2), "ppm"),
    ],
    ids=["8 bits", "16 bits", "RGB", "PPM"],
)
def test_its_shares_are_those_of_the_pixels_as_evaluation_reads_them(
    picture: np.ndarray, suffix: str, program: Path, tmp_path: Path
) -> None:
    file = tmp_path / f"picture.{suffix}"
    Image.fromarray(picture).save(file)
    expect_shares(program, file, np.repeat(GREY[..., None], 3, axis=2), abs=0.01)


@pytest.mark.parametrize("size", [(31, 50), (90, 12), (8, 200)], ids=str)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_it_resizes_as_opencv_does(
    interpolation: str, size: tuple[int, int], tmp_path: Path
) -> None:
    height, width = size
    picture = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.ppm")
    short = 11
    program = program_in(tmp_path, short_side=str(short), interpolation=interpolation)
    to = (width * short // min(size), height * short // min(size))
    how = cv2.INTER_LINEAR if interpolation == "bilinear" else cv2.INTER_CUBIC
    resized = cv2.resize(picture, to, interpolation=how)
    left, top = (to[0] - SIDE) // 2, (to[1] - SIDE) // 2
    # OpenCV rounds to a grey level twice.
    expect_shares(
        program, tmp_path / "picture.ppm", resized[top : top + SIDE, left : left + SIDE], abs=0.6
    )


def expect_shares(program: Path, picture: Path, pixels: np.ndarray, *, abs: float) -> None:
    """Holds the program's rows to the network's answer for (S, S, 3) pixels, in percent."""
    images = ((pixels.astype(np.float64) - MEAN) / STD).transpose(2, 0, 1)
    logits = images.reshape(-1) @ WEIGHTS.astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum()
    order = shares.argsort()[::-1]
    done = subprocess.run(
        [sys.executable, program, picture],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    found = {name: float(share.rstrip("%")) for share, name in rows}
    expected = {CLASSES[label]: 100 * shares[label] for label in order}
    assert found == pytest.approx(expected, abs=abs)
    assert list(found.values()) == sorted(found.values(), reverse=True)


RASTER = bytes(range(256)) * 3


@pytest.mark.parametrize(
    "before",
    [b"P6\n16 16\n255\n", b"P6\n# CREATOR: a program\n16 16\n255\n", b"P6 16\n#\n16 # 7 8\n255 "],
    ids=["plain", "comment", "late comments"],
)
@pytest.mark.parametrize("after", [b"", b"\n", b"P6 1 1 255 123"], ids=["", "newline", "another"])
def test_a_ppm_is_read_as_its_specification_says(
    before: bytes, after: bytes, tmp_path: Path
) -> None:
    program = program_in(tmp_path, short_side="16")
    (tmp_path / "picture").write_bytes(before + RASTER + after)
    pixels = np.frombuffer(RASTER, np.uint8).reshape(16, 16, 3)[4:12, 4:12]
    expect_shares(program, tmp_path / "picture", pixels, abs=0.01)


def test_a_ppm_of_16_bits_is_pillows_and_one_that_is_cut_off_is_refused(
    program: Path, tmp_path: Path
) -> None:
    wide = (GREY.astype(">u2") * 257).repeat(3).tobytes()
    (tmp_path / "wide.ppm").write_bytes(b"P6 8 8 65535\n" + wide)
    expect_shares(program, tmp_path / "wide.ppm", np.repeat(GREY[..., None], 3, axis=2), abs=0.01)
    (tmp_path / "cut.ppm").write_bytes(b"P6 16 16 255\n" + RASTER[:-2])
    done = subprocess.run([sys.executable, program, tmp_path / "cut.ppm"], capture_output=True)
    assert done.returncode != 0
