"""Logits and features of given images, by the engines that evaluation measures with.

Letters: N images, C classes, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.given import GivenImages
from mixnet_core.evaluate.counting import expect_finite
from mixnet_core.evaluate.engine import open_engine
from mixnet_core.recipe.recipe import Recipe


@dataclass(frozen=True)
class Computed:
    """Holds what was computed of a batch of images.

    Attributes:
        positions: (N,) int32, of the images that could be read.
        logits: (N, C) float32, finite.
        features: (N, F) float32; None where they were not asked for.
        unreadable: position -> why it cannot be read, of the others.
    """

    positions: NDArray[np.int32]
    logits: NDArray[np.float32]
    features: NDArray[np.float32] | None
    unreadable: dict[int, str]


class Predictor:
    """Computes with one file of weights.

    Args:
        recipe: the network, its input and the device.
        weights: the file; its suffix says its kind.
        num_classes: width of the classifier.
        ema: take the moving averages in the file.
        features: whether they are wanted too.
        batch: images of one `Computed`.
        threads: of decoding, and of OpenVINO.

    Attributes:
        engine: its name; see `engine.Engine`.

    Raises:
        MixnetError: as `engine.open_engine` and `Engine.load`.
    """

    def __init__(
        self,
        recipe: Recipe,
        weights: Path,
        num_classes: int,
        *,
        ema: bool = False,
        features: bool = False,
        batch: int,
        threads: int,
    ) -> None:
        self._weights = weights
        self._engine = open_engine(
            recipe, num_classes, suffix=weights.suffix, batch=batch, threads=threads
        )
        self._engine.load(weights, ema=ema, features=features)
        self.engine = self._engine.name

    def __call__(self, images: GivenImages) -> Iterator[Computed]:
        """Yields what is computed of the images, batch by batch, in their order.

        Raises:
            JobFailed: a logit is no finite number.
        """
        for batch in self._engine.logits(images, images.positions):
            every = batch.positions.tolist()
            unreadable = {i: images.unreadable[i] for i in every if i in images.unreadable}
            read = np.array([i not in unreadable for i in every], bool)
            logits = batch.logits[read]
            expect_finite(logits, batch.positions[read], str(self._weights))
            features = None if batch.features is None else batch.features[read]
            yield Computed(batch.positions[read], logits, features, unreadable)
