"""OpenVINO's package, imported without what it does beside."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any


def import_openvino() -> Any:
    """Imports the package so that it sends nothing, and returns it.

    `import openvino` alone (2026.4: openvino/tools/ovc/__init__.py) reports "general_import" to
    Google Analytics through openvino_telemetry and leaves files in ~/intel, without asking. Its
    opt-out is such a file too. Where openvino_telemetry cannot be imported, openvino takes a stub
    that does nothing; None in sys.modules is Python's way to say so.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@cache
def openvino_core() -> Any:
    """Returns the process's only `openvino.Core`, made on the first call and kept to the end.

    A Core's CPU plugin puts a signal stack of its own in place of Python's (2026.4), and back when
    it goes. Of two that go in another order than they came, what is put back is unmapped memory:
    the next Ctrl-C, and every other signal, ends the process with a segmentation fault.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    return import_openvino().Core()
