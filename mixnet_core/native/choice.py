"""Native operators or plain ones, for a recipe's devices on this machine."""

from __future__ import annotations

import functools
import logging

from mixnet_core.errors import MachineError
from mixnet_core.native.build import library
from mixnet_core.recipe_sections import Devices
from mixnet_core.values import Operators

log = logging.getLogger(__name__)


def choose_operators(devices: Devices) -> Operators:
    """Compiles the native ones if they are wanted and not there yet: seconds, once a machine.

    Where "auto" cannot have them, a warning says why, once a process.

    Raises:
        MachineError: devices.operators is native, and this machine cannot have them.
    """
    if devices.operators == "plain" or devices.target != "CPU":
        return "plain"
    if devices.operators == "native":
        library()
        return "native"
    return _native_if_possible()


@functools.cache
def _native_if_possible() -> Operators:
    try:
        library()
    except MachineError as error:
        log.warning(
            "training and evaluating with MindSpore's own CPU operators, which are many times "
            "slower: %s",
            error,
        )
        return "plain"
    return "native"
