"""The device this process computes on."""

from __future__ import annotations

import mindspore

from mixnet_core.errors import MachineError


def use_device(target: str) -> None:
    """Chooses graph mode and the device, before anything is computed.

    Args:
        target: "CPU", "Ascend" or "GPU", as `recipe.Devices.target`.

    Raises:
        MachineError: the device is not there.
    """
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    try:
        mindspore.set_device(target)
    except (RuntimeError, ValueError) as error:
        # Once something was computed, or ranks joined, the device cannot be chosen any more, even
        # if it is the same.
        settled = any(words in str(error) for words in ("has been initialized", "be modified"))
        if settled and _in_use() == target:
            return
        reason = str(error).strip().splitlines()[0]
        raise MachineError(
            f"devices.target {target} cannot be used here ({reason}): "
            "set devices.target to CPU or install the device's driver"
        ) from error


def _in_use() -> str:
    return str(mindspore.get_context("device_target"))
