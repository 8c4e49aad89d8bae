"""What an export is made from: a release's recipe and weights, on this machine, both verified."""

from __future__ import annotations

from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.values import Value


class Exportable(Value):
    """Holds what the formats are given.

    Attributes:
        name: of the release, or of what stands for one.
        recipe: its network, and how its images are read.
        weights: absolute path of the file.
        sha256: hex, of that file, verified.
        classes: names in label order; None where nobody says them.
        width: of the classifier.
    """

    name: str
    recipe: Recipe
    weights: str
    sha256: str
    classes: tuple[str, ...] | None
    width: int


def on_cpu(recipe: Recipe) -> Recipe:
    """Returns the recipe for a plain machine: files are written and proven on its CPU."""
    devices = recipe.devices.model_copy(update={"target": "CPU", "ranks": 1, "engine": "auto"})
    return recipe.model_copy(update={"devices": devices})
