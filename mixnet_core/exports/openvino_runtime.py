"""OpenVINO as the judge of its own files: nothing but the file says what goes in."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from mixnet_core.errors import MachineError
from mixnet_core.evaluate.openvino_package import import_openvino, openvino_core
from mixnet_core.exports.export_format import Logits, Pixels
from mixnet_core.exports.metadata import Normalising

# Below it a model's metadata stand; OpenVINO's own tools write beside it.
SECTION = "mixnet"


class OpenvinoRuntime:
    """Implements `export_format.Runtime` for a model that takes pixels or images, in any batch.

    As many requests as there are streams compute at a time, a part of the batch each.
    """

    def __init__(self, xml: Path, weights: Path, *, threads: int, precision: str) -> None:
        """Loads the files.

        Raises:
            MachineError: OpenVINO refuses them.
            IntegrityError: they do not say how images are normalised.
        """
        openvino = import_openvino()
        core = openvino_core()
        try:
            model = core.read_model(xml, weights)
            compiled = core.compile_model(
                model,
                "CPU",
                {
                    # Where a CPU has bfloat16, OpenVINO would choose it, and other figures with it.
                    "INFERENCE_PRECISION_HINT": "f32",
                    "PERFORMANCE_HINT": "THROUGHPUT",
                    "INFERENCE_NUM_THREADS": threads,
                },
            )
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise MachineError(f"OpenVINO does not load {xml.name}: {reason}") from error
        takes_pixels = model.input().get_element_type() == openvino.Type.u8
        self.said = read_metadata(model)
        self._normalise = None if takes_pixels else Normalising.of(self.said, xml.name)
        self._part = images_per_request(int(self.said.get("image_size", "224")))
        self._queue: Any = openvino.AsyncInferQueue(compiled)
        self._queue.set_callback(_collect)
        self._classes = model.output().partial_shape[1].get_length()
        self.name = f"openvino {metadata.version('openvino')}, CPU, {precision}"

    def logits(self, pixels: Pixels) -> Logits:
        """Returns (N, K), as `Runtime.logits`."""
        given = pixels if self._normalise is None else self._normalise(pixels)
        found = np.empty((len(given), self._classes), np.float32)
        for start in range(0, len(given), self._part):
            part = slice(start, start + self._part)
            self._queue.start_async({0: given[part]}, found[part])
        self._queue.wait_all()
        return found


def write_metadata(model: Any, said: dict[str, str]) -> None:
    """Puts keys and texts into a model, which they are saved with."""
    for key, text in said.items():
        model.set_rt_info(text, [SECTION, key])


def read_metadata(model: Any) -> dict[str, str]:
    """Returns what `write_metadata` put in; {} where nothing was."""
    if not model.has_rt_info([SECTION]):
        return {}
    section = model.get_rt_info([SECTION]).value
    return {key: str(getattr(value, "value", value)) for key, value in section.items()}


def images_per_request(image_size: int) -> int:
    """Returns how many images one request takes: small ones together, or calls cost more."""
    images = 1
    while images < 32 and 2 * images * image_size**2 <= 224**2:
        images *= 2
    return images


def _collect(request: Any, target: Logits) -> None:
    target[:] = request.get_output_tensor().data
