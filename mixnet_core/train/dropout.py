"""What dropout and stochastic depth leave out, drawn on the host.

Drawn from (seed, epoch, step, rank, micro-batch) alone, so that a resumed run draws the same again:
MindSpore's own random operators keep a state that cannot be saved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixnet_core.recipe.recipe import Recipe

# Keeps these draws apart from others with the same seed.
_PURPOSE = 1


class Dropout:
    """Draws multipliers for `model.mixnet.MixNet`: 0 for what is left out, else 1 / (1 - rate).

    Args:
        recipe: says the rates and the seed.
        rank: 0-based; every rank draws others, and so does every virtual one.
        features: width of the classifier's input.
        depths: MixNet's residual_depths.
    """

    def __init__(
        self, recipe: Recipe, rank: int, *, features: int, depths: Sequence[float]
    ) -> None:
        self._recipe, self._rank = recipe, rank
        self._batch = recipe.rank_batch // recipe.accumulation
        self._features = features
        self._rate = recipe.network.drop_rate
        rates = [recipe.network.drop_path_rate * depth for depth in depths]
        self._path_rates = np.array(rates, np.float32)

    def draw(
        self, *, epoch: int, step: int, micro_batch: int
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        """Draws the multipliers of one micro-batch of N images.

        Args:
            epoch: 0-based.
            step: 0-based, within the epoch.
            micro_batch: its number within the step, 0-based.

        Returns:
            features (N, F) and paths (N, residual blocks), both float32; None where nothing is
            dropped.
        """
        drawn_for = self._recipe.drawn_for(self._rank, micro_batch)
        key = (self._recipe.training.seed, _PURPOSE, epoch, step, *drawn_for)
        random = np.random.default_rng(np.random.SeedSequence(key))
        features = paths = None
        if self._rate:
            features = _kept(random, (self._batch, self._features), np.float32(self._rate))
        if self._path_rates.any():
            paths = _kept(random, (self._batch, len(self._path_rates)), self._path_rates)
        return features, paths


def _kept(
    random: np.random.Generator, shape: tuple[int, int], rate: np.float32 | NDArray[np.float32]
) -> NDArray[np.float32]:
    kept = random.random(shape, np.float32) >= rate
    return (kept / (1 - rate)).astype(np.float32)
