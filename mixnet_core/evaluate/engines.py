"""What turns a split's images into logits: the interface, and the choice between MindSpore and
OpenVINO.

OpenVINO is chosen for speed. MixNet-S, 224x224, float32, two cores: MindSpore on its own CPU
operators 8 img/s, on native ones 200, onnxruntime 220, OpenVINO 390 and with decoding 280. Its
first answer comes sooner too: it needs 2.5 s once a network and 0.3 s a weights file, MindSpore's
graph 2 to 10 s in every process, so a small split gains as well.

Letters: N images of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.index import Index
from mixnet_core.errors import MachineError
from mixnet_core.recipe import Recipe
from mixnet_core.recipe_sections import Devices

EngineName = Literal["mindspore", "openvino"]


@dataclass(frozen=True)
class Answers:
    """logits (N, C) float32; labels (N,) int32; positions (N,) int32 in the split's index."""

    logits: NDArray[np.float32]
    labels: NDArray[np.int32]
    positions: NDArray[np.int32]


class Engine(Protocol):
    """Answers with one weights file at a time.

    Attributes:
        name: package, version, device and precision: what a figure depends on besides its inputs.
    """

    name: str

    def load(self, weights: Path) -> None:
        """Takes a weights file's parameters in place of any earlier ones.

        Raises:
            InputError, IntegrityError, CheckpointMismatch: as `checkpoints.store.load_weights`.
        """

    def answers(self, index: Index, positions: NDArray[np.int32]) -> Iterator[Answers]:
        """The images at these positions of the split, in this order.

        Raises:
            DatasetError: an image cannot be read.
        """


def open_engine(
    recipe: Recipe, classes: int, *, batch: int, threads: int, onnx: bool = False
) -> Engine:
    """The engine that `choose_engine` names, ready to load weights.

    Args:
        classes: width of the classifier.
        onnx: the weights are ONNX files, which OpenVINO computes wherever it is.
        batch: images of one `Answers`; the last may hold fewer.
        threads: of decoding; also of OpenVINO's computing.

    Raises:
        MachineError: the device or the engine is not there.
    """
    # Imported here: either takes long to import, and OpenVINO need not be there.
    if onnx:
        from mixnet_core.evaluate.onnx_engine import OnnxEngine

        return OnnxEngine(recipe, classes, batch=batch, threads=threads)
    if choose_engine(recipe.devices) == "openvino":
        from mixnet_core.evaluate.openvino_engine import OpenvinoEngine

        return OpenvinoEngine(recipe, classes, batch=batch, threads=threads)
    from mixnet_core.evaluate.mindspore_engine import MindsporeEngine

    return MindsporeEngine(recipe, classes, batch=batch, threads=threads)


def choose_engine(devices: Devices) -> EngineName:
    """`devices.engine`; of "auto" OpenVINO on a CPU where it is installed, else MindSpore.

    Raises:
        MachineError: OpenVINO is asked for by name and not installed.
    """
    installed = util.find_spec("openvino") is not None
    if devices.engine == "auto":
        return "openvino" if installed and devices.target == "CPU" else "mindspore"
    if devices.engine == "openvino" and not installed:
        raise MachineError(
            "devices.engine is openvino, which is not installed: run "
            "`pip install 'mixnet[cpu-inference]'`, or set devices.engine to auto"
        )
    return devices.engine
