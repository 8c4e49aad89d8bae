"""Native operators or plain ones, as somebody wants them and this machine can have them."""

from __future__ import annotations

import functools
import logging
from typing import Literal

from mixnet_core.errors import MachineError
from mixnet_core.model.native.build import library

# The operators that a network runs on: MindSpore's, or this project's for the CPU ("native").
Operators = Literal["plain", "native"]

log = logging.getLogger(__name__)


def choose_operators(wanted: Literal["auto", "native", "plain"], *, target: str) -> Operators:
    """Chooses the operators; compiles the native ones if they are wanted and not compiled yet.

    Compiling takes seconds, once per machine. Where "auto" cannot have them, a warning says why,
    once per process.

    Args:
        wanted: a recipe's devices.operators.
        target: a recipe's devices.target; there are native operators for a CPU only.

    Raises:
        MachineError: "native" is wanted, and this machine cannot have them.
    """
    if wanted == "plain" or target != "CPU":
        return "plain"
    if wanted == "native":
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
