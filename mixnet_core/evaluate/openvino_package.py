"""OpenVINO's package, imported without what it does beside."""

from __future__ import annotations

import sys
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
