"""MindSpore's own graph, on every device and in every installation."""

from __future__ import annotations

from mixnet_core.evaluate.engine import Engine, EngineKind
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.recipe.sections import Devices


class MindsporeKind(EngineKind):
    """Offers `mindspore_engine`, which is imported only where it computes."""

    def preference(self, devices: Devices) -> int:
        """Returns 1: it works everywhere, and others are faster."""
        return 1

    def open(
        self, recipe: Recipe, classes: int, *, suffix: str, batch: int, threads: int
    ) -> Engine:
        """Opens it; takes and raises what `open_engine` does."""
        from mixnet_core.evaluate.mindspore_engine import MindsporeEngine

        return MindsporeEngine(recipe, classes, batch=batch, threads=threads)


ENGINE = MindsporeKind()
