"""A release's weights as plain arrays, for whoever puts them into another file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixnet_core.exports.exportable import Exportable

Values = dict[str, NDArray[np.float32]]


def named_values(item: Exportable) -> Values:
    """Reads the network's parameters, every name and shape checked: MindCV's name -> values.

    Raises:
        MixnetError: as `checkpoints.store.load_weights`.
    """
    from mixnet_core.checkpoints.store import load_weights
    from mixnet_core.evaluate.onnx_export import plain_network

    network = plain_network(item.recipe, item.width)
    load_weights(network, Path(item.weights))
    return {
        parameter.name: np.ascontiguousarray(parameter.asnumpy())
        for parameter in network.get_parameters()
    }
