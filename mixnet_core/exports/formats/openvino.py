"""OpenVINO's own form, of normalised images."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mixnet_core.exports.export_format import Calibration, ExportFormat, Runtime
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.openvino_runtime import OpenvinoRuntime

XML, BIN = "model.xml", "model.bin"


class Openvino(ExportFormat):
    """Weights in float32, any batch, what it has to be known by in its runtime information."""

    title = "OpenVINO IR; input images (N, C, S, S) float32, normalised"
    tool = "OpenVINO"
    files: ClassVar = {"openvino_xml": XML, "openvino_bin": BIN}
    packages: ClassVar = {"openvino": "openvino", "onnx": "onnx"}

    def write(self, item: Exportable, folder: Path, calibration: Calibration) -> None:
        from mixnet_core.exports.openvino_model import openvino_model, save

        save(openvino_model(item), folder / XML)

    def open(self, item: Exportable, folder: Path, *, threads: int) -> Runtime:
        return OpenvinoRuntime(folder / XML, folder / BIN, threads=threads, precision="float32")


FORMAT = Openvino()
