"""A folder as timm and the Hugging Face hub read it: timm's names, and what makes its network."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import ClassVar

from mixnet_core.errors import InputError
from mixnet_core.exports.export_format import Calibration, ExportFormat, Runtime
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.metadata import metadata_of
from mixnet_core.exports.named_values import named_values
from mixnet_core.exports.timm_config import timm_config
from mixnet_core.model.weight_names import mindcv_names, timm_names
from mixnet_core.recipe.sections import Network
from mixnet_core.storage.files import write_json

# The names that `timm.create_model("local-dir:FOLDER")` and `hf-hub:` look for.
WEIGHTS, CONFIG = "timm/model.safetensors", "timm/config.json"


class Timm(ExportFormat):
    """Networks that timm has: of its own conventions or of TensorFlow's, with the published stem.

    BatchNorm's counts of batches are left out: nobody counted them, and PyTorch takes 0.
    """

    title = 'timm: `timm.create_model("local-dir:timm", pretrained=True)`, or a Hugging Face hub'
    tool = "timm"
    files: ClassVar = {"timm": WEIGHTS, "timm_config": CONFIG}
    packages: ClassVar = {"safetensors": "safetensors"}

    def check(self, name: str, network: Network) -> None:
        if network.flavour == "mindcv":
            raise InputError(
                f"{name} follows MindCV's conventions, whose squeeze-excite always has ReLU; "
                "timm's network would compute something else with its weights: use --to "
                "safetensors or --to onnx, or train with network.flavour timm"
            )
        if network.stem_stride != 2:
            raise InputError(
                f"{name} has network.stem_stride {network.stem_stride}, timm's have 2: "
                "use --to onnx"
            )
        if (network.flavour, network.variant) == ("tf", "xl"):
            raise InputError(f"{name} is a tf_mixnet_xl, which timm has not: use --to onnx")

    def write(self, item: Exportable, folder: Path, calibration: Calibration) -> None:
        from safetensors.numpy import save_file

        names = timm_names(item.recipe.network.variant)
        values = {names[name]: value for name, value in named_values(item).items()}
        (folder / WEIGHTS).parent.mkdir(exist_ok=True)
        # PyTorch's readers ask for the first.
        save_file(values, folder / WEIGHTS, metadata={"format": "pt", **metadata_of(item)})
        write_json(folder / CONFIG, timm_config(item))

    def open(self, item: Exportable, folder: Path, *, threads: int) -> Runtime:
        from safetensors import safe_open
        from safetensors.numpy import load_file

        from mixnet_core.exports.mindspore_runtime import runtime_of_values

        names = mindcv_names(item.recipe.network.variant)
        values = {names[name]: value for name, value in load_file(folder / WEIGHTS).items()}
        with safe_open(folder / WEIGHTS, "np") as file:
            said = file.metadata() or {}
        reader = f"safetensors {metadata.version('safetensors')}"
        return runtime_of_values(values, item, folder / WEIGHTS, reader, said)


FORMAT = Timm()
