"""A release as one ONNX graph with its weights inside, for any batch.

`evaluate.onnx_export` has the graph as MindSpore exports it: of opset 11, for one image, with the
weights as inputs. Nothing in it depends on the batch but the shapes that it states.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mixnet_core.errors import MachineError
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.metadata import metadata_of
from mixnet_core.exports.named_values import named_values

# Of 2024, which onnxruntime reads from 1.18 on and OpenVINO from 2024: this network's operators
# mean the same in all later ones, and a newer number would only turn older runtimes away.
OPSET = 21
BATCH = "N"
PIXELS = "pixels"


def whole_graph(item: Exportable, *, pixels: bool = False, opset: int = OPSET) -> Any:
    """Returns the `onnx.ModelProto`, checked.

    Args:
        pixels: its input is PIXELS (N, S, S, C) uint8, which it normalises; else IMAGES
            (N, C, S, S) float32.
        opset: of its operators.

    Raises:
        MachineError: onnx does not take what MindSpore exported.
        MixnetError: as `named_values`.
    """
    import onnx
    from onnx import checker, helper, numpy_helper, version_converter

    from mixnet_core.evaluate.onnx_export import IMAGES, network_graph

    model = onnx.load_from_string(network_graph(item.recipe, item.width))
    graph = model.graph
    (images,) = [given for given in graph.input if given.name == IMAGES]
    values = named_values(item)
    odd = {given.name for given in graph.input} ^ {IMAGES, *values}
    if odd:
        raise MachineError(
            f"the exported network's parameters have other names, the first is {min(odd)}: report "
            "this with the version of mindspore"
        )
    del graph.input[:]
    graph.input.append(images)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    for end in (*graph.input, *graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = BATCH
    # It does not grow: a graph of an older opset is made of the same operators.
    model = version_converter.convert_version(model, opset)
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    if pixels:
        _take_pixels(model.graph, item)
    model.graph.name = item.name
    model.producer_name, _, model.producer_version = metadata_of(item)["code"].partition(" ")
    helper.set_model_props(model, metadata_of(item))
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MachineError(f"onnx refuses the exported network ({reason}): report this") from error
    return model


def _take_pixels(graph: Any, item: Exportable) -> None:
    """Puts the normalising before a graph's first layer."""
    from onnx import TensorProto, helper, numpy_helper

    (images,) = graph.input
    given, channels = item.recipe.input, item.recipe.network.in_channels
    size = given.image_size
    steps = [
        helper.make_node("Cast", [PIXELS], ["pixels_float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels_float", "pixels_mean"], ["pixels_centred"]),
        helper.make_node("Div", ["pixels_centred", "pixels_std"], ["pixels_scaled"]),
        helper.make_node("Transpose", ["pixels_scaled"], [images.name], perm=[0, 3, 1, 2]),
    ]
    nodes = [*steps, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for name, numbers in (("pixels_mean", given.mean), ("pixels_std", given.std)):
        value = np.array(numbers[:channels], np.float32)
        graph.initializer.append(numpy_helper.from_array(value, name))
    graph.input.remove(images)
    graph.input.append(
        helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, [BATCH, size, size, channels])
    )
