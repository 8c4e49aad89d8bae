"""OpenVINO's own form that normalises by itself: it takes the pixels of the cropped image."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mixnet_core.exports.export_format import Calibration, ExportFormat, Runtime
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.openvino_runtime import OpenvinoRuntime

XML, BIN = "model-pixels.xml", "model-pixels.bin"


class OpenvinoPixels(ExportFormat):
    """As `openvino`, with the normalising in the model."""

    title = "OpenVINO IR; input pixels (N, S, S, C) uint8"
    tool = "OpenVINO"
    files: ClassVar = {"openvino_pixels_xml": XML, "openvino_pixels_bin": BIN}
    packages: ClassVar = {"openvino": "openvino", "onnx": "onnx"}

    def write(self, item: Exportable, folder: Path, calibration: Calibration) -> None:
        from mixnet_core.exports.openvino_model import openvino_model, save

        save(openvino_model(item, pixels=True), folder / XML)

    def open(self, item: Exportable, folder: Path, *, threads: int) -> Runtime:
        return OpenvinoRuntime(folder / XML, folder / BIN, threads=threads, precision="float32")


FORMAT = OpenvinoPixels()
