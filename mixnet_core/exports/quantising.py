"""Rounding a network to eight bits with NNCF: weights per channel, activations by calibration.

Both forms go through the same tool, which corrects the biases for what rounding shifts, and in the
same form (`joined_branches`). Its preset is "performance": activations have no zero point of their
own, which each layer would subtract, for no better top-1 on Fashion-MNIST. Depthwise convolutions
stay in float32: they wait for memory, and rounding what goes in costs more than it saves.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.errors import MachineError
from mixnet_core.evaluate.openvino_package import import_openvino

# What the tool takes for a gate it leaves alone (26 of a MixNet-S' 80 1x1 convolutions).
KEPT_FLOAT = "depthwise and squeeze-excite's convolutions, activation functions"


def quantised(
    model: Any, images: NDArray[np.float32], given: str | None, *, kept: Sequence[str]
) -> Any:
    """Returns a model rounded to eight bits.

    Args:
        model: OpenVINO's or ONNX's, for any batch.
        images: (N, C, S, S), normalised, to calibrate on; each goes through alone.
        given: name of the model's input; None where the tool takes arrays.
        kept: names of its depthwise convolutions, which stay in float32.

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
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(parts),
            ignored_scope=nncf.IgnoredScope(names=list(kept)),
        )
    except (RuntimeError, ValueError, nncf.errors.InternalError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MachineError(f"NNCF does not quantise the network: {reason}") from error
