"""Scores a saved checkpoint while training goes on: every rank its share of the select split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mindspore import Tensor, nn, ops
from numpy.typing import NDArray

from mixnet_core.checkpoints.bundle import AVERAGES, WEIGHTS
from mixnet_core.data.index import read_index
from mixnet_core.evaluate.counting import judge
from mixnet_core.evaluate.mindspore_engine import MindsporeEngine
from mixnet_core.evaluate.scoring import share
from mixnet_core.model.ranks import Ranks
from mixnet_core.processes.child import beat, long_stretch, others_wait, slow_at_first
from mixnet_core.processes.requests import TrainRequest
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.values import Score

# Images per forward pass; its activations come on top of what training holds.
_BATCH = 64


class Scorer:
    """Scores the files of bundles, each on all ranks together.

    It has a network of its own, so the one that learns is not disturbed. That network is compiled
    at the first score, after the graph that trains.

    Args:
        recipe: says the network, its input and the device.
        request: names the dataset.
        ranks: which rank this is, of how many.
    """

    def __init__(self, recipe: Recipe, request: TrainRequest, ranks: Ranks) -> None:
        self._recipe, self._ranks = recipe, ranks
        self._classes, self._threads = len(request.dataset.classes), request.threads
        self._index = read_index(Path(request.dataset.root), "select")
        self._rows = recipe.training.virtual_ranks or 1
        self._shares = _shares(len(self._index.paths), recipe, ranks)
        self._engine: MindsporeEngine | None = None
        self._sum = _Sum() if ranks.count > 1 else None

    def __call__(self, bundle: Path) -> dict[str, Score]:
        """Scores each of the bundle's weights files on the select split.

        To be called by all ranks; it waits until rank 0 has the bundle complete.

        Args:
            bundle: the bundle's folder.

        Returns:
            File name -> score, the same on every rank. Counts are exact, the loss is to float32.

        Raises:
            MixnetError: as `Engine.load` and `Engine.logits`.
            JobFailed: logits are not finite.
        """
        if self._engine is None:
            # The first sum is a graph too; ranks need not compile equally long.
            with others_wait(), long_stretch():
                self._totals(np.zeros((self._rows, 4), np.float32))
                self._engine = MindsporeEngine(
                    self._recipe, self._classes, batch=_BATCH, threads=self._threads
                )
        else:
            self._totals(np.zeros((self._rows, 4), np.float32))
        files = [bundle / name for name in (WEIGHTS, AVERAGES) if (bundle / name).is_file()]
        return {file.name: self._score(self._engine, file) for file in files}

    def _score(self, engine: MindsporeEngine, file: Path) -> Score:
        sums = np.zeros((self._rows, 4), np.float64)
        # A rank that is through waits for the others' shares below.
        with others_wait():
            with long_stretch():
                engine.load(file)
            for number, positions in self._shares.items():
                for batch in slow_at_first(engine.logits(self._index, positions)):
                    rows = judge(batch, str(file))
                    right, among = rows["place"] < 1, rows["place"] < 5
                    sums[number] += [len(rows), right.sum(), among.sum(), rows["loss"].sum()]
                    beat()
        # Counts of fewer than 2^24 images are exact in float32.
        totals = self._totals(sums.astype(np.float32))
        count, correct1, correct5, loss = totals.sum(axis=0)
        return Score(
            count=round(count),
            correct1=round(correct1),
            correct5=round(correct5),
            loss=float(loss / count),
        )

    def _totals(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Adds up over ranks; of a virtual rank's row all but one are zeros."""
        if self._sum is not None:
            values = self._sum(Tensor(values)).asnumpy()
        return values.astype(np.float64)


def _shares(images: int, recipe: Recipe, ranks: Ranks) -> dict[int, NDArray[np.int32]]:
    """Returns the positions of a rank's images, by the row of sums that they are added to.

    With virtual ranks each has a row, and rows are added up in their order: a loss has the same
    bits on any number of ranks.
    """
    count = recipe.training.virtual_ranks
    if count is None:
        return {0: share(images, ranks)}
    own = count // ranks.count
    first = ranks.rank * own
    return {number: share(images, Ranks(number, count)) for number in range(first, first + own)}


class _Sum(nn.Cell):
    """Adds up over ranks: (R, 4) float32 -> same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.all_reduce = ops.AllReduce()

    def construct(self, values: Tensor) -> Tensor:
        return self.all_reduce(values)
