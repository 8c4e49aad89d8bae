"""Logits from an ONNX file that holds its weights, whoever exported it, by OpenVINO on the CPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixnet_core.errors import CheckpointMismatch, InputError, IntegrityError, MachineError
from mixnet_core.evaluate.openvino_engine import OpenvinoEngine
from mixnet_core.evaluate.openvino_package import openvino_core
from mixnet_core.recipe.recipe import Recipe


@dataclass(frozen=True)
class OnnxNetwork:
    """Describes what an ONNX file's input and output say.

    Attributes:
        classes: width of the output.
        in_channels: of the input.
        image_size: pixels; None where the file leaves it open.
        said: keys and texts in it.
    """

    classes: int
    in_channels: int
    image_size: int | None
    said: dict[str, str] = field(default_factory=dict)


class OnnxEngine(OpenvinoEngine):
    """Implements `engine.Engine` for `.onnx` files that hold their own weights.

    They have one input (N, C, S, S) float32 of normalised images and one output (N, classes).
    """

    def __init__(self, recipe: Recipe, classes: int, *, batch: int, threads: int) -> None:
        # The parent's would export a network of ours, which is not needed here.
        self._settle(recipe, classes, batch=batch, threads=threads)

    def load(self, weights: Path, *, ema: bool = False, features: bool = False) -> None:
        """Takes a file's network together with its weights.

        Raises:
            InputError: averages are asked for, or as `read_network`.
            IntegrityError: as `read_network`.
            CheckpointMismatch: its input or its classes are not the recipe's.
            MachineError: OpenVINO refuses the network.
        """
        self._features = features
        if ema:
            raise InputError(f"{weights} holds one set of weights, no averages beside them")
        found, wanted = read_network(weights), self._recipe
        size = found.image_size or wanted.input.image_size
        if (found.classes, found.in_channels, size) != (
            self._classes,
            wanted.network.in_channels,
            wanted.input.image_size,
        ):
            raise CheckpointMismatch(
                f"{weights} is for {found.classes} classes and images of {found.in_channels} x "
                f"{size} px, expected {self._classes} and {wanted.network.in_channels} x "
                f"{wanted.input.image_size}: set network.in_channels and input.image_size, or give "
                "the folder of its images"
            )
        self._take(lambda: self._of_file(weights))

    def _of_file(self, weights: Path) -> Any:
        core = openvino_core()
        model = core.read_model(weights)
        if not model.input().partial_shape[0].is_dynamic:
            # Reshaping would break whatever the file computes with its fixed batch.
            self._pass = model.input().partial_shape[0].get_length()
        return self._for_pixels(core, model, model.input())


def read_network(path: Path) -> OnnxNetwork:
    """Looks at an ONNX file's shapes.

    Raises:
        InputError: there is no such file.
        IntegrityError: it is no ONNX.
        CheckpointMismatch: it does not take images to classes.
        MachineError: OpenVINO, which reads it, is not installed.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint file at {path}: check the path")
    try:
        core = openvino_core()
    except ImportError as error:
        raise MachineError(
            "an .onnx file is read by OpenVINO, which is not installed: run `pip install openvino`"
        ) from error
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise IntegrityError(f"{path} is not a readable ONNX file ({reason})") from error
    inputs, outputs = model.inputs, model.outputs
    shapes = [item.partial_shape for item in (*inputs, *outputs)]
    if (len(inputs), len(outputs)) != (1, 1) or [len(shape) for shape in shapes] != [4, 2]:
        raise CheckpointMismatch(
            f"{path} has inputs and outputs of the shapes {', '.join(map(str, shapes))}: expected "
            "one input (N, C, S, S) and one output (N, classes)"
        )
    if not model.input().get_element_type().is_real():
        raise CheckpointMismatch(
            f"{path} takes {model.input().get_element_type().get_type_name()} pixels and "
            "normalises them by itself: give the file of normalised images, as `mixnet export "
            "--to onnx` writes it"
        )
    (_, channels, height, _), (_, classes) = shapes
    if channels.is_dynamic or classes.is_dynamic:
        raise CheckpointMismatch(
            f"{path} leaves its channels or its classes open ({', '.join(map(str, shapes))}): "
            "export it with fixed ones"
        )
    # Where OpenVINO keeps an ONNX file's metadata_props.
    said = model.get_rt_info(["framework"]).value if model.has_rt_info(["framework"]) else {}
    return OnnxNetwork(
        classes=classes.get_length(),
        in_channels=channels.get_length(),
        image_size=None if height.is_dynamic else height.get_length(),
        said={key: str(getattr(text, "value", text)) for key, text in said.items()},
    )
