"""Rounding a network to eight bits with NNCF: weights per channel, activations by calibration.

Both forms go through the same tool, which corrects the biases for what rounding shifts. Activations
are rounded with a zero point of their own (its preset "mixed"): swish, which most blocks end with,
is never below -0.28 and goes far up, so that symmetric steps would waste half of them.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.errors import MachineError
from mixnet_core.evaluate.openvino_package import import_openvino

# What the tool takes for a gate it leaves alone (26 of a MixNet-S' 80 1x1 convolutions).
KEPT_FLOAT = "squeeze-excite's convolutions, activation functions"


def quantised(model: Any, images: NDArray[np.float32], given: str | None) -> Any:
    """Returns a model rounded to eight bits.

    Args:
        model: OpenVINO's or ONNX's, for any batch.
        images: (N, C, S, S), normalised, to calibrate on; each goes through alone.
        given: name of the model's input; None where the tool takes arrays.

    Raises:
        MachineError: the tool does not take the model.
    """
    # Before its own import of openvino, which would report to Google Analytics.
    import_openvino()
    import nncf

    nncf.set_log_level(logging.ERROR)
    parts: list[Any] = [images[row : row + 1] for row in range(len(images))]
    if given is not None:
        parts = [{given: part} for part in parts]
    try:
        return nncf.quantize(
            model,
            nncf.Dataset(parts),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(parts),
        )
    except (RuntimeError, ValueError, nncf.errors.InternalError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MachineError(f"NNCF does not quantise the network: {reason}") from error
