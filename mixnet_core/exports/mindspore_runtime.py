"""MindSpore as the judge: this project's network with another file's values, or a whole MindIR."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.errors import CheckpointMismatch, IntegrityError, MachineError
from mixnet_core.exports.export_format import Logits, Pixels
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.metadata import Normalising, metadata_of
from mixnet_core.exports.named_values import named_values
from mixnet_core.model.device import use_device
from mixnet_core.model.mixnet import build_model
from mixnet_core.model.native.choice import choose_operators

# Every call has as many images: another shape would compile another graph.
_BATCH = 32


class MindsporeRuntime:
    """Implements `export_format.Runtime`; images are normalised as the recipe says.

    The files that it is for hold weights alone, or as MindIR nothing of how images are read.
    """

    def __init__(
        self, network: Any, item: Exportable, name: str, said: Mapping[str, str] | None = None
    ) -> None:
        self.said = said
        self._network = network
        self._normalise = Normalising.of(metadata_of(item), name)
        self.name = name

    def logits(self, pixels: Pixels) -> Logits:
        """Returns (N, K), as `Runtime.logits`."""
        from mindspore import Tensor

        images = self._normalise(pixels)
        parts = []
        for start in range(0, len(images), _BATCH):
            part = images[start : start + _BATCH]
            padded = np.zeros((_BATCH, *part.shape[1:]), np.float32)
            padded[: len(part)] = part
            parts.append(self._network(Tensor(padded)).asnumpy()[: len(part)])
        return np.concatenate(parts)


def runtime_of_values(
    values: Mapping[str, NDArray[Any]],
    item: Exportable,
    file: Path,
    reader: str,
    said: Mapping[str, str],
) -> MindsporeRuntime:
    """Puts a file's values into this project's network.

    Args:
        values: MindCV's name -> values.
        file: they are from, for errors.
        reader: package and version that read them.
        said: what the file says of itself.

    Raises:
        CheckpointMismatch: a name or a shape is not the network's.
        IntegrityError: a value is not the release's, to the bit.
        MachineError: MindSpore cannot use the CPU.
    """
    from mindspore import Tensor

    _expect_same(values, named_values(item), file)
    use_device("CPU")
    given = item.recipe.network
    operators = choose_operators(item.recipe.devices.operators, target="CPU")
    network = build_model(
        given.variant,
        item.width,
        given.in_channels,
        flavour=given.flavour,
        stem_stride=given.stem_stride,
        operators=operators,
    ).set_train(False)
    wanted = {parameter.name: parameter for parameter in network.get_parameters()}
    odd = sorted(wanted.keys() ^ values.keys()) or [
        name for name, value in values.items() if value.shape != tuple(wanted[name].shape)
    ]
    if odd:
        raise CheckpointMismatch(
            f"{file.name} has {len(odd)} parameters that are not the network's, the first is "
            f"{odd[0]}: report this"
        )
    for name, parameter in wanted.items():
        parameter.set_data(Tensor(np.array(values[name], np.float32)))
    name = f"{reader} with {_mindspore()}, {operators} operators"
    return MindsporeRuntime(network, item, name, said)


def runtime_of_mindir(file: Path, item: Exportable) -> MindsporeRuntime:
    """Loads a MindIR.

    Raises:
        MachineError: MindSpore does not load it here.
    """
    import mindspore
    from mindspore import nn

    use_device("CPU")
    try:
        network = nn.GraphCell(mindspore.load(str(file)))
    # Whatever its C++ code raises.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise MachineError(f"MindSpore does not load {file.name} here: {reason}") from error
    return MindsporeRuntime(network, item, _mindspore())


def _mindspore() -> str:
    return f"mindspore {metadata.version('mindspore')}, CPU, float32"


def _expect_same(
    found: Mapping[str, NDArray[Any]], released: Mapping[str, NDArray[Any]], file: Path
) -> None:
    """Holds weights to the release's: one that differs in a bit predicts almost the same.

    Raises:
        IntegrityError: a value differs.
    """
    odd = [
        name
        for name, values in released.items()
        if name in found and found[name].tobytes() != values.tobytes()
    ]
    if odd:
        raise IntegrityError(
            f"{file.name} has other values than the release in {len(odd)} parameters, the first is "
            f"{odd[0]}: export it again"
        )
