"""ONNX, of normalised images."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mixnet_core.exports.export_format import Calibration, ExportFormat, Runtime
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.onnxruntime_runtime import OnnxruntimeRuntime

FILE = "model.onnx"


class Onnx(ExportFormat):
    """Weights inside, any batch, what it has to be known by in its metadata."""

    title = "ONNX; input images (N, C, S, S) float32, normalised"
    files: ClassVar = {"onnx": FILE}
    packages: ClassVar = {"onnx": "onnx", "onnxruntime": "onnxruntime"}

    def write(self, item: Exportable, folder: Path, calibration: Calibration) -> None:
        import onnx

        from mixnet_core.exports.onnx_graph import whole_graph

        onnx.save(whole_graph(item), str(folder / FILE))

    def open(self, item: Exportable, folder: Path, *, threads: int) -> Runtime:
        return OnnxruntimeRuntime(folder / FILE, threads=threads, precision="float32")


FORMAT = Onnx()
