"""MindIR: MindSpore's own form of a whole network, for its runtimes on servers and on devices."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mixnet_core.exports.export_format import Calibration, ExportFormat, Runtime
from mixnet_core.exports.exportable import Exportable

FILE = "model.mindir"


class Mindir(ExportFormat):
    """Weights inside, any batch; it holds nothing of classes or of how images are read."""

    title = "MindIR; input images (N, C, S, S) float32, normalised"
    files: ClassVar = {"mindir": FILE}

    def write(self, item: Exportable, folder: Path, calibration: Calibration) -> None:
        import mindspore
        from mindspore import Tensor

        from mixnet_core.checkpoints.store import load_weights
        from mixnet_core.evaluate.onnx_export import plain_network

        network = plain_network(item.recipe, item.width)
        load_weights(network, Path(item.weights))
        size = item.recipe.input.image_size
        images = Tensor(
            shape=[None, item.recipe.network.in_channels, size, size], dtype=mindspore.float32
        )
        mindspore.export(network, images, file_name=str(folder / FILE), file_format="MINDIR")
        (folder / FILE).chmod(0o644)

    def open(self, item: Exportable, folder: Path, *, threads: int) -> Runtime:
        from mixnet_core.exports.mindspore_runtime import runtime_of_mindir

        return runtime_of_mindir(folder / FILE, item)


FORMAT = Mindir()
