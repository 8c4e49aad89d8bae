"""Logits from MindSpore's own graph, on the recipe's device, in float32."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

from mixnet_core.checkpoints.store import load_weights
from mixnet_core.data.batches import evaluation_batches
from mixnet_core.data.index import Index
from mixnet_core.evaluate.engine import BatchLogits
from mixnet_core.model.device import use_device
from mixnet_core.model.mixnet import build_model
from mixnet_core.model.native.choice import choose_operators
from mixnet_core.recipe.recipe import Recipe


class MindsporeEngine:
    """Implements `engine.Engine`: one graph, compiled at once, serves every weights file."""

    def __init__(self, recipe: Recipe, classes: int, *, batch: int, threads: int) -> None:
        """Compiles the graph.

        Args:
            classes, batch, threads: as `engine.open_engine`.

        Raises:
            MachineError: the device is not there.
        """
        network, size = recipe.network, recipe.input.image_size
        operators = choose_operators(recipe.devices.operators, target=recipe.devices.target)
        self.name = f"mindspore {metadata.version('mindspore')}, {recipe.devices.target}, float32"
        if operators == "native":
            self.name += ", native operators"
        self._recipe = recipe
        self._batch = batch
        self._threads = threads
        use_device(recipe.devices.target)
        self._net = build_model(
            network.variant,
            classes,
            network.in_channels,
            flavour=network.flavour,
            stem_stride=network.stem_stride,
            operators=operators,
        ).set_train(False)
        self._net.compile(Tensor(np.zeros((batch, network.in_channels, size, size), np.float32)))

    def load(self, weights: Path, *, ema: bool = False) -> None:
        """Loads a weights file; raises what `Engine.load` does."""
        load_weights(self._net, weights, ema=ema)

    def logits(self, index: Index, positions: NDArray[np.int32]) -> Iterator[BatchLogits]:
        """Yields the logits of the images at these positions, as `Engine.logits`."""
        for batch in evaluation_batches(
            index,
            positions,
            self._recipe,
            batch=self._batch,
            threads=self._threads,
        ):
            logits = self._net(Tensor(_padded(batch.images, self._batch))).asnumpy()
            yield BatchLogits(logits[: len(batch.labels)], batch.labels, batch.positions)


def _padded(images: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """Fills (N, C, S, S) up to (batch, C, S, S): another shape would compile a second graph."""
    missing = batch - len(images)
    return np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else images
