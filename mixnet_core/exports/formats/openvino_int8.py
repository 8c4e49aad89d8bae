"""OpenVINO's own form with weights and activations of eight bits."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mixnet_core.exports.export_format import Calibration, ExportFormat, Runtime
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.metadata import Normalising, metadata_of
from mixnet_core.exports.openvino_runtime import OpenvinoRuntime, write_metadata
from mixnet_core.exports.quantising import KEPT_FLOAT

XML, BIN = "model-int8.xml", "model-int8.bin"


class OpenvinoInt8(ExportFormat):
    """Judged beside `openvino`: what it loses, and how much faster it is on this machine."""

    title = "OpenVINO IR, eight bits; input images (N, C, S, S) float32, normalised"
    tool = "OpenVINO"
    files: ClassVar = {"openvino_int8_xml": XML, "openvino_int8_bin": BIN}
    packages: ClassVar = {"openvino": "openvino", "onnx": "onnx", "nncf": "nncf"}
    parent = "openvino"
    kept_float = KEPT_FLOAT

    def write(self, item: Exportable, folder: Path, calibration: Calibration) -> None:
        from mixnet_core.exports.openvino_model import depthwise, openvino_model, save
        from mixnet_core.exports.quantising import quantised

        said = metadata_of(item)
        images = Normalising.of(said, XML)(calibration())
        joined = openvino_model(item, joined=True)
        model = quantised(joined, images, None, kept=depthwise(joined))
        # The tool returns a copy, which may have left them behind.
        write_metadata(model, said)
        save(model, folder / XML)

    def open(self, item: Exportable, folder: Path, *, threads: int) -> Runtime:
        return OpenvinoRuntime(folder / XML, folder / BIN, threads=threads, precision="int8")


FORMAT = OpenvinoInt8()
