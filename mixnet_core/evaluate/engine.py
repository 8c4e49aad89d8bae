"""Turning a split's images into logits: what every engine can do, and which one is chosen.

OpenVINO is chosen for speed. MixNet-S, 224x224, float32, two cores: MindSpore on its own CPU
operators 8 img/s, on native ones 200, onnxruntime 220, OpenVINO 390 and with decoding 280. Its
first logits come sooner too: it needs 2.5 s once per network and 0.3 s per weights file,
MindSpore's graph 2 to 10 s in every process, so a small split gains as well.

Letters: N images of a batch, C classes, F features of an image before the classifier.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.reading import ImageSet
from mixnet_core.recipe.kinds import ENGINES
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.recipe.sections import Devices


@dataclass(frozen=True)
class BatchLogits:
    """Holds the logits of one batch of images.

    Attributes:
        logits: (N, C) float32.
        labels: (N,) int32.
        positions: (N,) int32, of the images.
        features: (N, F) float32, what the classifier is given; None where they were not asked for.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int32]
    positions: NDArray[np.int32]
    features: NDArray[np.float32] | None = None


class Engine(Protocol):
    """Computes logits with one weights file at a time.

    Attributes:
        name: package, version, device and precision: what a figure depends on besides its inputs.
    """

    name: str

    def load(self, weights: Path, *, ema: bool = False, features: bool = False) -> None:
        """Takes a weights file's parameters in place of any earlier ones.

        Args:
            ema: take the moving averages that the file holds beside the weights.
            features: give each image's features with its logits.

        Raises:
            InputError, IntegrityError, CheckpointMismatch: as `checkpoints.store.load_weights`.
            MachineError: it cannot tell where in the network the features are.
        """

    def logits(self, images: ImageSet, positions: NDArray[np.int32]) -> Iterator[BatchLogits]:
        """Yields the logits of the images at these positions, in this order.

        Args:
            images: a prepared split's, or given ones; what of those cannot be read is noted in
                `images.unreadable`, and its logits mean nothing.
            positions: (N,) int32.

        Raises:
            DatasetError: an image of a prepared split cannot be read.
        """


class EngineKind(ABC):
    """Describes an engine as one file of `evaluate.engines` offers it, without importing much.

    Attributes:
        reads: suffixes of the weights files that it takes.
    """

    reads: ClassVar[tuple[str, ...]] = (".ckpt", ".safetensors")

    def check(self, devices: Devices) -> None:
        """Checks that it works on the devices of a recipe that names it.

        Raises:
            ValueError: it does not.
        """
        return

    def require(self) -> None:
        """Makes sure that it is installed.

        Raises:
            MachineError: it is not.
        """
        return

    @abstractmethod
    def preference(self, devices: Devices) -> int:
        """Tells how well devices.engine auto would choose it: the most wins, 0 is never."""

    @abstractmethod
    def open(
        self, recipe: Recipe, classes: int, *, suffix: str, batch: int, threads: int
    ) -> Engine:
        """Opens it; takes and raises what `open_engine` does."""


def open_engine(
    recipe: Recipe, classes: int, *, suffix: str = ".ckpt", batch: int, threads: int
) -> Engine:
    """Opens the engine that the recipe names, or one that reads such files, ready for weights.

    Args:
        classes: width of the classifier.
        suffix: of the weights files.
        batch: images of one `BatchLogits`; the last may hold fewer.
        threads: of decoding; also of OpenVINO's computing.

    Raises:
        MachineError: the device or the engine is not there.
    """
    engine = ENGINES.load(choose_engine(recipe.devices))
    if suffix not in engine.reads:
        # Where none reads it, loading says what is wrong with the file.
        engine = next((other for other in ENGINES.all().values() if suffix in other.reads), engine)
    opened: Engine = engine.open(recipe, classes, suffix=suffix, batch=batch, threads=threads)
    return opened


def choose_engine(devices: Devices) -> str:
    """Returns the name of the engine to use: for "auto", of the one that suits the devices best.

    Raises:
        MachineError: an engine is asked for by name and not installed.
    """
    if devices.engine == "auto":
        engines = ENGINES.all()
        return max(engines, key=lambda name: engines[name].preference(devices))
    ENGINES.load(devices.engine).require()
    return devices.engine
