"""ONNX with weights and activations of eight bits."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mixnet_core.exports.export_format import Calibration, ExportFormat, Runtime
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.metadata import Normalising, metadata_of
from mixnet_core.exports.onnxruntime_runtime import OnnxruntimeRuntime
from mixnet_core.exports.quantising import KEPT_FLOAT

FILE = "model-int8.onnx"
# From 21 on QuantizeLinear names its type too, which NNCF 3.4 sets otherwise than its zero point.
_OPSET = 17


class OnnxInt8(ExportFormat):
    """Judged beside `onnx`: what it loses, and how much faster it is on this machine."""

    title = "ONNX, eight bits; input images (N, C, S, S) float32, normalised"
    files: ClassVar = {"onnx_int8": FILE}
    packages: ClassVar = {
        "onnx": "onnx",
        "onnxruntime": "onnxruntime",
        "openvino": "openvino",
        "nncf": "nncf",
    }
    parent = "onnx"
    kept_float = KEPT_FLOAT

    def write(self, item: Exportable, folder: Path, calibration: Calibration) -> None:
        import onnx
        from onnx import helper

        from mixnet_core.exports.joined_branches import depthwise, join_branches
        from mixnet_core.exports.onnx_graph import whole_graph
        from mixnet_core.exports.quantising import quantised

        said = metadata_of(item)
        images = Normalising.of(said, FILE)(calibration())
        graph = whole_graph(item, opset=_OPSET)
        join_branches(graph)
        (given,) = graph.graph.input
        model = quantised(graph, images, given.name, kept=depthwise(graph))
        # The tool makes a new model, which has none.
        helper.set_model_props(model, said)
        onnx.save(model, str(folder / FILE))

    def open(self, item: Exportable, folder: Path, *, threads: int) -> Runtime:
        return OnnxruntimeRuntime(folder / FILE, threads=threads, precision="int8")


FORMAT = OnnxInt8()
