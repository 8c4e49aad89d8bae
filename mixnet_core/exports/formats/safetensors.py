"""safetensors under MindCV's names: weights alone, for this project's network and for MindCV's."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import ClassVar

from mixnet_core.exports.export_format import Calibration, ExportFormat, Runtime
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.metadata import metadata_of
from mixnet_core.exports.named_values import named_values

# Not timm's name, which stands beside it.
FILE = "mindcv.safetensors"


class Safetensors(ExportFormat):
    """What it has to be known by stands in its header."""

    title = "safetensors, MindCV's names; `mixnet evaluate` and `--weights` read it"
    files: ClassVar = {"safetensors": FILE}
    packages: ClassVar = {"safetensors": "safetensors"}

    def write(self, item: Exportable, folder: Path, calibration: Calibration) -> None:
        from safetensors.numpy import save_file

        save_file(named_values(item), folder / FILE, metadata=metadata_of(item))

    def open(self, item: Exportable, folder: Path, *, threads: int) -> Runtime:
        from safetensors import safe_open
        from safetensors.numpy import load_file

        from mixnet_core.exports.mindspore_runtime import runtime_of_values

        with safe_open(folder / FILE, "np") as file:
            said = file.metadata() or {}
        reader = f"safetensors {metadata.version('safetensors')}"
        return runtime_of_values(load_file(folder / FILE), item, folder / FILE, reader, said)


FORMAT = Safetensors()
