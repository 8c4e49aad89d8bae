"""MixNet on MindSpore: recipes, networks, releases and the stages of a training, for scripts.

    import mixnet_core

    recipe = mixnet_core.load_recipe("digits", {"training.epochs": 3})
    context = mixnet_core.open_context(recipe, "workspace", run="mine")
    release = mixnet_core.run_stages(context)
    model = mixnet_core.load_release("mine")
    predictions = model.predict(["photo.jpg"])

What stands in `__all__` is kept; everything else in the package is private and may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mixnet_core.errors import MixnetError

if TYPE_CHECKING:
    from mixnet_core.evaluate.prediction import Prediction
    from mixnet_core.recipe.recipe import Recipe, load_recipe, recipe_names
    from mixnet_core.release.registry import list_releases
    from mixnet_core.runs.values import Release
    from mixnet_core.stages.chain import run_stages
    from mixnet_core.stages.context import Context, open_context
    from mixnet_core.stages.loading import (
        LoadedRelease,
        build_network,
        load_release,
        load_weights,
    )
    from mixnet_core.stages.options import adjusted_recipe

__all__ = [
    "Context",
    "LoadedRelease",
    "MixnetError",
    "Prediction",
    "Recipe",
    "Release",
    "adjusted_recipe",
    "build_network",
    "list_releases",
    "load_recipe",
    "load_release",
    "load_weights",
    "open_context",
    "recipe_names",
    "run_stages",
]

# Loaded when it is asked for: whatever imports one module of the package imports this one first.
_WHERE = {
    "Context": "stages.context",
    "LoadedRelease": "stages.loading",
    "Prediction": "evaluate.prediction",
    "Recipe": "recipe.recipe",
    "Release": "runs.values",
    "adjusted_recipe": "stages.options",
    "build_network": "stages.loading",
    "list_releases": "release.registry",
    "load_recipe": "recipe.recipe",
    "load_release": "stages.loading",
    "load_weights": "stages.loading",
    "open_context": "stages.context",
    "recipe_names": "recipe.recipe",
    "run_stages": "stages.chain",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
