"""A release as an OpenVINO model, from the ONNX graph of it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mixnet_core.errors import MachineError
from mixnet_core.evaluate.openvino_package import import_openvino
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.joined_branches import join_branches
from mixnet_core.exports.metadata import metadata_of
from mixnet_core.exports.onnx_graph import whole_graph
from mixnet_core.exports.openvino_runtime import write_metadata


def openvino_model(item: Exportable, *, pixels: bool = False, joined: bool = False) -> Any:
    """Returns the model in float32, for any batch, with its metadata.

    Args:
        pixels: as `onnx_graph.whole_graph`.
        joined: in the form of `joined_branches`, for rounding.

    Raises:
        MachineError: OpenVINO does not take the graph.
        MixnetError: as `whole_graph`.
    """
    openvino = import_openvino()
    graph = whole_graph(item, pixels=pixels)
    if joined:
        join_branches(graph)
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(graph.SerializeToString())
            # Unlike `read_model`, it folds BatchNorm and computes what is constant: without that
            # NNCF leaves depthwise convolutions in float32.
            model = openvino.convert_model(path)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise MachineError(f"OpenVINO does not take the exported network: {reason}") from error
    write_metadata(model, metadata_of(item))
    return model


def save(model: Any, xml: Path) -> None:
    """Writes the model as it computes: OpenVINO would halve the weights' precision.

    Raises:
        MachineError: it cannot be written.
    """
    try:
        import_openvino().save_model(model, xml, compress_to_fp16=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise MachineError(f"cannot write {xml}: {reason}") from error


def depthwise(model: Any) -> list[str]:
    """Returns the names of a model's depthwise convolutions."""
    return [
        operation.get_friendly_name()
        for operation in model.get_ordered_ops()
        # Their weights are (groups, outputs a group, inputs a group, H, W).
        if operation.get_type_name() == "GroupConvolution"
        and operation.input(1).get_partial_shape()[2].get_length() == 1
    ]
