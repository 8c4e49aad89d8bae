"""ONNX that normalises by itself: it takes the pixels of the cropped image."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mixnet_core.exports.export_format import Calibration, ExportFormat, Runtime
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.onnxruntime_runtime import OnnxruntimeRuntime

FILE = "model-pixels.onnx"


class OnnxPixels(ExportFormat):
    """As `onnx`, with the normalising in the graph."""

    title = "ONNX; input pixels (N, S, S, C) uint8"
    files: ClassVar = {"onnx_pixels": FILE}
    packages: ClassVar = {"onnx": "onnx", "onnxruntime": "onnxruntime"}

    def write(self, item: Exportable, folder: Path, calibration: Calibration) -> None:
        import onnx

        from mixnet_core.exports.onnx_graph import whole_graph

        onnx.save(whole_graph(item, pixels=True), str(folder / FILE))

    def open(self, item: Exportable, folder: Path, *, threads: int) -> Runtime:
        return OnnxruntimeRuntime(folder / FILE, threads=threads, precision="float32")


FORMAT = OnnxPixels()
