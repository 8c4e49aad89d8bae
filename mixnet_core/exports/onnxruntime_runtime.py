"""onnxruntime as the judge of ONNX files: nothing but the file says what goes in."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from mixnet_core.errors import MachineError
from mixnet_core.exports.export_format import Logits, Pixels
from mixnet_core.exports.metadata import Normalising


class OnnxruntimeRuntime:
    """Implements `export_format.Runtime` for files with one input, of pixels or of images."""

    def __init__(self, file: Path, *, threads: int, precision: str) -> None:
        """Loads the file.

        Raises:
            MachineError: onnxruntime refuses it.
            IntegrityError: it does not say how images are normalised.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        # Its errors have no base of their own.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise MachineError(f"onnxruntime does not load {file.name}: {reason}") from error
        (given,) = self._session.get_inputs()
        self._input = given.name
        self.said: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        takes_pixels = given.type == "tensor(uint8)"
        self._normalise = None if takes_pixels else Normalising.of(self.said, file.name)
        self.name = f"onnxruntime {metadata.version('onnxruntime')}, CPU, {precision}"

    def logits(self, pixels: Pixels) -> Logits:
        """Returns (N, K), as `Runtime.logits`."""
        given = pixels if self._normalise is None else self._normalise(pixels)
        (found,) = self._session.run(None, {self._input: given})
        return np.asarray(found, np.float32)
