"""What the stages are given. Apart from them, so that who starts them imports no framework."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from mixnet_core.model.native.choice import Operators
from mixnet_core.model.variants import VariantName
from mixnet_core.processes.requests import EvaluateRequest

Averaging = Literal["joined", "one a tensor"]
InputCase = Literal[
    "mindcv training",
    "mindcv training in processes",
    "mindcv itself",
    "training",
    "mindcv plain training",
    "plain training",
    "mindcv evaluation",
    "evaluation",
    "evaluation pixels",
    "decoding, Pillow",
    "decoding, OpenCV",
    "decoding, mindspore.dataset",
]


class StepJob(BaseModel):
    """recipe: a whole one as plain data; steps: timed ones, after the first."""

    recipe: dict[str, object]
    operators: Operators = "plain"
    averaging: Averaging = "joined"
    steps: int


class SeededJob(BaseModel):
    """Where `jobs.seeded_network` writes the network that every engine computes."""

    recipe: dict[str, object]
    folder: str


class InferenceJob(BaseModel):
    """One engine at one batch.

    Attributes:
        folder: what `jobs.seeded_network` wrote.
        batch: images of one forward pass.
        seconds: calls are timed at least once, and until so many have passed.
    """

    recipe: dict[str, object]
    folder: str
    operators: Operators = "plain"
    batch: int
    threads: int
    seconds: float = 4.0


class OperatorRow(BaseModel):
    """A layer and its input's shape; images (N, channels, plane, plane) with N the job's batch.

    Attributes:
        layer: "depthwise": MixConv or its plain form; "norm": BatchNorm and its activation, in
            training; "stem": a 3x3 convolution of three channels to `channels`.
        kernels, stride: of the convolutions.
        activation: of "norm".
    """

    layer: Literal["depthwise", "norm", "stem"]
    channels: int
    plane: int
    kernels: tuple[int, ...] = (3,)
    stride: int = 1
    activation: Literal["relu", "swish"] = "relu"

    @property
    def name(self) -> str:
        size = f"{self.channels} x {self.plane} x {self.plane}"
        if self.layer == "norm":
            return f"BatchNorm + {self.activation}, {size}"
        what = "depthwise" if self.layer == "depthwise" else "stem 3 to"
        kernels = ", ".join(map(str, self.kernels))
        return f"{what} {size}, kernels {kernels}, stride {self.stride}"


class OperatorsJob(BaseModel):
    rows: list[OperatorRow]
    operators: Operators
    batch: int
    seconds: float


class OperatorsTiming(BaseModel):
    """A row each.

    Attributes:
        forward, both: milliseconds: forward; forward and backward, to input and parameters.
        shapes: of the output.
        sums: of the absolute values of the output and of each gradient.
    """

    forward: list[float]
    both: list[float]
    shapes: list[list[int]]
    sums: list[list[float]]
    peak_mb: float


class EvaluationJob(BaseModel):
    """The evaluate stage's request; `bare` leaves out reading, decoding and counting."""

    request: EvaluateRequest
    bare: bool


class InputJob(BaseModel):
    """One way to read the images of the val split.

    Attributes:
        recipe: file.
        dataset: the prepared dataset's folder.
    """

    case: InputCase
    recipe: str
    dataset: str
    threads: int


class TorchJob(BaseModel):
    """As the jobs above; of `folder` only the weights are read, and only for inference.

    Attributes:
        compiled: by torch.compile.
        autocast: in bfloat16 where PyTorch's autocast computes in it.
    """

    variant: VariantName
    compiled: bool = False
    autocast: bool = False
    image_size: int
    batch: int
    threads: int
    training: bool
    folder: str | None = None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    least: int
    seconds: float


class MixnetEpochJob(BaseModel):
    """recipe: file, of one epoch; workspace: its folder; run: a new name."""

    recipe: str
    workspace: str
    run: str


class TorchEpochJob(BaseModel):
    """An epoch of JPEGs.

    Attributes:
        images: folder with one folder a class.
        folder: where the checkpoint goes.
        workers: processes of the DataLoader.
        compiled: by torch.compile.
    """

    variant: VariantName
    images: str
    folder: str
    image_size: int
    batch: int
    threads: int
    workers: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    compiled: bool = False
