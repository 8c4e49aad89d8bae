"""The few settings that people change from run to run, as flat options over a recipe.

The command line and the flows offer the same ones; everything else is a dotted key in `settings`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mixnet_core.data.sources import folder_source, recipe_classes
from mixnet_core.errors import InputError, RecipeError
from mixnet_core.recipe import Recipe, RecipeFile, read_recipe
from mixnet_core.release.start import find_start, start_overrides
from mixnet_core.run_dir import Workspace
from mixnet_core.storage import open_storage
from mixnet_core.uris import refuse_credentials, shown_words

DEFAULT_RECIPE = "digits"


def adjusted_recipe(
    recipe: str,
    *,
    data: str | None = None,
    weights: str | None = None,
    releases: str | None = None,
    epochs: int | None = None,
    global_batch: int | None = None,
    lr: float | None = None,
    ranks: int | None = None,
    scale_lr: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Recipe:
    """A recipe with options applied, then `settings` (dotted key -> value) on top of them.

    Args:
        recipe: name of a bundled recipe or path of a YAML file.
        data: folder of images, or of IDX files where the recipe's source is Fashion-MNIST. With a
            folder of images the class count is taken from it, unless it is ImageNet; which kind of
            folder it is shows in what is there (`data.sources.folder_source`).
        weights: name or URI of the release to start from.
        releases: URI where a release's name is looked up after the catalog. The release that the
            recipe starts from, whoever named it, then decides network.variant, flavour, in_channels
            and stem_stride, and whether the classifier is kept (`release.start`). None: nothing is
            looked up.
        epochs: the schedule's warm-up and decay are stretched or shortened with it.
        lr: the peak, for schedule.lr_batch images a step where the recipe or scale_lr sets that.
        ranks: the global batch stays; devices.micro_batch says when gradients are accumulated.
        scale_lr: instead, the images a rank stay and the global batch grows or shrinks with
            `ranks`, unless it is given; the rates with the global batch, linearly.

    Raises:
        InputError: scale_lr with nothing that changes the global batch; no such release; a
            classifier that was to be kept has another number of classes.
        RecipeError: as `load_recipe`.
        MixnetError: as `release.start.find_start` and `data.sources.recipe_classes`.
    """
    file = read_recipe(recipe)
    changes = _data_overrides(file, data)
    base = file.recipe(changes)
    if weights is not None:
        changes["weights.name"] = weights
    if epochs is not None:
        changes |= _epochs_overrides(base, epochs)
    if global_batch is not None:
        changes["training.global_batch"] = global_batch
    if lr is not None:
        changes["schedule.lr"] = float(lr)
        changes["schedule.min_lr"] = min(base.schedule.min_lr, float(lr))
    if ranks is not None:
        changes["devices.ranks"] = ranks
    if scale_lr:
        changes |= _scale_overrides(base, global_batch, ranks)
    changes |= dict(settings or {})
    chosen = file.recipe(changes)
    name = chosen.weights.name
    if releases is None or name is None:
        return chosen
    start = find_start(name, releases)
    classes = recipe_classes(chosen.data)
    return file.recipe(changes | start_overrides(chosen, start, classes, settled=settings or ()))


def parse_settings(items: list[str]) -> dict[str, Any]:
    """["training.epochs=3"] -> {"training.epochs": 3}; values are YAML.

    Raises:
        InputError: an item is not KEY=VALUE.
    """
    settings = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise InputError(
                f"--set {shown_words(item)!r}: expected KEY=VALUE, as in training.seed=7"
            )
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set {shown_words(item)!r}: the value is not valid YAML") from None
    return settings


def open_workspace(folder: str | None) -> Workspace:
    """The given folder, else $MIXNET_HOME, else `workspace` in the current folder; absolute."""
    root = folder or os.environ.get("MIXNET_HOME") or "workspace"
    refuse_credentials(root)
    return Workspace(Path(root).expanduser().absolute())


def releases_uri(workspace: Workspace, publish_to: str | None) -> str:
    """Where releases go and are looked up, in full: the given URI or path, else the workspace's.

    Raises:
        InputError: it is not a storage.
    """
    return open_storage(publish_to or str(workspace.releases)).uri


def _data_overrides(file: RecipeFile, data: str | None) -> dict[str, Any]:
    if data is None:
        return {}
    refuse_credentials(data)
    # A file by path may need `data` to be valid at all, so its source is read leniently.
    try:
        source: str = file.recipe().data.source
    except RecipeError:
        source = "image_folder"
    path = Path(data).expanduser().absolute()
    if source == "fashion_mnist":
        return {"data.path": str(path)}
    found = folder_source(path, expected=source)
    changes: dict[str, Any] = {"data.source": found, "data.path": str(path)}
    if found != source:
        changes["data.layout"] = "links" if found == "image_folder" else "in_place"
    if found != "imagenet" or source != "imagenet":
        changes["network.num_classes"] = None
    return changes


def _epochs_overrides(recipe: Recipe, epochs: int) -> dict[str, Any]:
    factor = epochs / recipe.training.epochs
    return {
        "training.epochs": epochs,
        "schedule.warmup_epochs": recipe.schedule.warmup_epochs * factor,
        "schedule.decay_epochs": recipe.schedule.decay_epochs * factor,
    }


def _scale_overrides(recipe: Recipe, global_batch: int | None, ranks: int | None) -> dict[str, Any]:
    if global_batch is None and ranks is None:
        raise InputError(
            "--scale-lr (scale_lr) scales the rates with the global batch: give --ranks or "
            "--global-batch too"
        )
    changes: dict[str, Any] = {}
    if recipe.schedule.lr_batch is None:
        changes["schedule.lr_batch"] = recipe.training.global_batch
    if global_batch is None and ranks is not None:
        changes["training.global_batch"] = recipe.rank_batch * ranks
    return changes
