"""OpenVINO, on a CPU where it is installed; it computes .onnx files too, whoever exported them."""

from __future__ import annotations

from importlib import util

from mixnet_core.errors import MachineError
from mixnet_core.evaluate.engine import Engine, EngineKind
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.recipe.sections import Devices


class OpenvinoKind(EngineKind):
    """Offers `openvino_engine` and `onnx_engine`, which are imported only where they compute."""

    reads = (".ckpt", ".safetensors", ".onnx")

    def check(self, devices: Devices) -> None:
        """Checks that the recipe evaluates on a CPU.

        Raises:
            ValueError: it does not.
        """
        if devices.target != "CPU":
            raise ValueError(
                f"devices.engine openvino evaluates on a CPU, devices.target is {devices.target}: "
                "use auto or mindspore"
            )

    def require(self) -> None:
        """Makes sure that OpenVINO is installed.

        Raises:
            MachineError: it is not.
        """
        if not _is_installed():
            raise MachineError(
                "devices.engine is openvino, which is not installed: run `pip install openvino`, "
                "or set devices.engine to auto"
            )

    def preference(self, devices: Devices) -> int:
        """Returns 2 on a CPU where OpenVINO is installed, else 0."""
        return 2 if devices.target == "CPU" and _is_installed() else 0

    def open(
        self, recipe: Recipe, classes: int, *, suffix: str, batch: int, threads: int
    ) -> Engine:
        """Opens the one for the suffix; takes and raises what `open_engine` does."""
        if suffix == ".onnx":
            from mixnet_core.evaluate.onnx_engine import OnnxEngine

            return OnnxEngine(recipe, classes, batch=batch, threads=threads)
        from mixnet_core.evaluate.openvino_engine import OpenvinoEngine

        return OpenvinoEngine(recipe, classes, batch=batch, threads=threads)


ENGINE = OpenvinoKind()


def _is_installed() -> bool:
    return util.find_spec("openvino") is not None
