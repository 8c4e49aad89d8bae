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
from mixnet_core.data.reading import ImageSet
from mixnet_core.evaluate.engine import BatchLogits
from mixnet_core.model.device import use_device
from mixnet_core.model.mixnet import WithFeatures, build_model
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
        self._shape = (batch, network.in_channels, size, size)
        self._net = build_model(
            network.variant,
            classes,
            network.in_channels,
            flavour=network.flavour,
            stem_stride=network.stem_stride,
            operators=operators,
        ).set_train(False)
        self._net.compile(Tensor(np.zeros(self._shape, np.float32)))
        self._with_features: WithFeatures | None = None
        self._features = False

    def load(self, weights: Path, *, ema: bool = False, features: bool = False) -> None:
        """Loads a weights file; raises what `Engine.load` does."""
        load_weights(self._net, weights, ema=ema)
        self._features = features
        if features and self._with_features is None:
            self._with_features = WithFeatures(self._net).set_train(False)
            self._with_features.compile(Tensor(np.zeros(self._shape, np.float32)))

    def logits(self, images: ImageSet, positions: NDArray[np.int32]) -> Iterator[BatchLogits]:
        """Yields the logits of the images at these positions, as `Engine.logits`."""
        for batch in evaluation_batches(
            images,
            positions,
            self._recipe,
            batch=self._batch,
            threads=self._threads,
        ):
            count, given = len(batch.labels), Tensor(_padded(batch.images, self._batch))
            if self._features and self._with_features is not None:
                logits, features = (item.asnumpy()[:count] for item in self._with_features(given))
                yield BatchLogits(logits, batch.labels, batch.positions, features)
            else:
                logits = self._net(given).asnumpy()[:count]
                yield BatchLogits(logits, batch.labels, batch.positions)


def _padded(images: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """Fills (N, C, S, S) up to (batch, C, S, S): another shape would compile a second graph."""
    missing = batch - len(images)
    return np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else images
