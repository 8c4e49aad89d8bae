"""The few settings that people change from run to run, as flat options over a recipe.

Each is declared here once, with its type, bounds and help: the command line's options and the
fields of the dashboard's form are made from it. Everything else is a dotted key in `settings`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import Field

from mixnet_core.data.source import source_of, source_of_folder
from mixnet_core.errors import InputError, RecipeError
from mixnet_core.recipe.kinds import SOURCES
from mixnet_core.recipe.recipe import Recipe, RecipeFile, read_recipe
from mixnet_core.release.start import find_start, start_overrides
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.uris import refuse_credentials, shown, shown_words
from mixnet_core.storage.yaml_files import parse_yaml

DEFAULT_RECIPE = "digits"
# Where releases go and are looked up where nobody names another place.
REGISTRY_VARIABLE = "MIXNET_REGISTRY"
# Of an item of --set in a message, in letters.
_SHOWN = 100

# In the order of the form. What the command line words otherwise, as flags, is the same option.
HELP = {
    "recipe": "A bundled recipe's name (`mixnet recipe list`), or the path of a YAML file, ours or "
    "MindCV's.",
    "data": "Folder of images with train/ and val/ (or of IDX files) instead of the recipe's data.",
    "run": "Name of the run; given again, it goes on where it stopped. Default: the recipe's name "
    "and fingerprint, so that equal recipes share a run.",
    "workspace": "Folder for datasets, runs and releases. Default: $MIXNET_HOME, else ./workspace.",
    "registry": "Where releases go and are looked up: a folder, file:///PATH or "
    "s3://BUCKET/PREFIX. Default: $MIXNET_REGISTRY, else releases/ in the workspace.",
    "release": "Name of the release that is published. Default: the run's.",
    "weights": "Initial weights: name or URI of a release, or the path of a file .ckpt or "
    ".safetensors. Their network is taken over; their classifier is, where the images are of its "
    "classes.",
    "epochs": "Length; the schedule is stretched with it.",
    "global_batch": "Images an optimizer step, over all ranks.",
    "lr": "Peak learning rate; where rates are scaled, the one for schedule.lr_batch.",
    "ranks": "Training processes on each host, one per device; a single one runs without msrun. "
    "The global batch stays.",
    "hosts": "Hosts of the work pool that train together, each with the recipe's ranks. Their "
    "workers are started as `python -m mixnet_flows.infra.worker`. Default: the recipe's.",
    "scale_lr": "With ranks: keep the images per rank instead, so that the global batch follows. "
    "The learning rates are scaled with the global batch.",
    "accept_anyway": "A reason to publish whatever acceptance.* demands; it is recorded.",
    "single_writer": "Nobody else publishes there: publish even where the store does not refuse to "
    "overwrite.",
    "settings": 'Any other key of the recipe, dotted, as in {"training.seed": 7}.',
    "publish_to": "The registry, under the name that it had before.",
}

Text = Annotated[str, Field(min_length=1)]
DataOption = Annotated[str | None, Field(min_length=1), typer.Option("--data", help=HELP["data"])]
RunOption = Annotated[str | None, Field(min_length=1), typer.Option("--run", help=HELP["run"])]
WorkspaceOption = Annotated[
    str | None, Field(min_length=1), typer.Option("--workspace", help=HELP["workspace"])
]
RegistryOption = Annotated[
    str | None,
    Field(min_length=1),
    typer.Option("--registry", "--publish-to", help=HELP["registry"]),
]
ReleaseOption = Annotated[
    str | None, Field(min_length=1), typer.Option("--release", "--name", help=HELP["release"])
]
WeightsOption = Annotated[
    str | None, Field(min_length=1), typer.Option("--weights", help=HELP["weights"])
]
EpochsOption = Annotated[int | None, Field(ge=1), typer.Option("--epochs", help=HELP["epochs"])]
GlobalBatchOption = Annotated[
    int | None, Field(ge=1), typer.Option("--global-batch", help=HELP["global_batch"])
]
LrOption = Annotated[float | None, Field(gt=0), typer.Option("--lr", help=HELP["lr"])]
RanksOption = Annotated[int | None, Field(ge=1), typer.Option("--ranks", help=HELP["ranks"])]
# The flow's alone: on the command line `mixnet train` runs on each host, and is told which it is.
HostsParameter = Annotated[int | None, Field(ge=1)]
ScaleLrOption = Annotated[bool, typer.Option("--scale-lr", help=HELP["scale_lr"])]
AcceptAnywayOption = Annotated[
    str | None,
    Field(min_length=1),
    typer.Option("--accept-anyway", metavar="REASON", help=HELP["accept_anyway"]),
]
SingleWriterOption = Annotated[bool, typer.Option("--single-writer", help=HELP["single_writer"])]

F = TypeVar("F", bound=Callable[..., Any])


def documented(function: F) -> F:
    """Adds the help of a flow's parameters to its docstring, which is where Prefect takes it from.

    A description in an annotation would be dropped.
    """
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    lines = "\n".join(f"    {name}: {HELP[name]}" for name in names)
    function.__doc__ = f"{function.__doc__}\n\nArgs:\n{lines}\n"
    return function


def adjusted_recipe(
    recipe: str,
    *,
    data: str | None = None,
    weights: str | None = None,
    registry: str | None = None,
    epochs: int | None = None,
    global_batch: int | None = None,
    lr: float | None = None,
    ranks: int | None = None,
    hosts: int | None = None,
    scale_lr: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Recipe:
    """Applies options to a recipe, then `settings` (dotted key -> value) on top of them.

    Args:
        recipe: name of a bundled recipe or path of a YAML file.
        data: folder of images, or of IDX files where the recipe's source is Fashion-MNIST. With a
            folder of images the class count is taken from it, unless it is ImageNet; which kind of
            folder it is shows in what is there (`data.source.source_of_folder`).
        weights: name or URI of the release to start from, or the path of a file of weights.
        registry: URI where a release's name is looked up after the catalog. The release that the
            recipe starts from, whoever named it, then decides network.variant, flavour, in_channels
            and stem_stride, and whether the classifier is kept (`release.start`). None: nothing is
            looked up.
        epochs: the schedule's warm-up and decay are stretched or shortened with it.
        lr: the peak, for schedule.lr_batch images per step where the recipe or scale_lr sets that.
        ranks: on each host; the global batch stays, devices.micro_batch says when gradients are
            accumulated.
        hosts: as for `ranks`.
        scale_lr: instead, the images per rank stay and the global batch grows or shrinks with
            `ranks` and `hosts`, unless it is given; the rates with the global batch, linearly.

    Raises:
        InputError: scale_lr with nothing that changes the global batch; no such release; a
            classifier that was to be kept has another number of classes.
        RecipeError: as `load_recipe`.
        MixnetError: as `release.start.find_start` and `data.source.DataSource.classes`.

    Example:
        >>> import mixnet_core
        >>> registry = "workspace/releases"
        >>> recipe = mixnet_core.adjusted_recipe("digits", weights="tiny", registry=registry)
        >>> recipe.network.variant, recipe.weights.name
        ('s', 'tiny')
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
    if hosts is not None:
        changes["devices.hosts"] = hosts
    if scale_lr:
        changes |= _scale_overrides(base, global_batch, ranks, hosts)
    changes |= dict(settings or {})
    chosen = file.recipe(changes)
    name = chosen.weights.name
    if registry is None or name is None:
        return chosen
    start = find_start(name, registry)
    classes = source_of(chosen.data).classes(chosen.data)
    return file.recipe(changes | start_overrides(chosen, start, classes, settled=settings or ()))


def parse_settings(items: list[str]) -> dict[str, Any]:
    """Turns ["training.epochs=3"] into {"training.epochs": 3}; values are YAML, or an empty text.

    Raises:
        InputError: an item is not KEY=VALUE, or two are of one key.
    """
    settings: dict[str, Any] = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise InputError(
                f"--set {shown_words(item)!r}: expected KEY=VALUE, as in training.seed=7"
            )
        # A secret that holds `=` is none in halves.
        said = f"--set {shown_words(item)[:_SHOWN]!r}"
        if key in settings:
            raise InputError(f"{said}: the key is there twice, keep one")
        # Nothing, as an unset shell variable leaves it, is not YAML's null.
        empty = value.strip() == ""
        settings[key] = "" if empty else parse_yaml(value, said).value
    return settings


def open_workspace(folder: str | None) -> Workspace:
    """Returns the given folder, else $MIXNET_HOME, else ./workspace; absolute."""
    root = folder or os.environ.get("MIXNET_HOME") or "workspace"
    refuse_credentials(root)
    return Workspace(Path(root).expanduser().absolute())


def registry_uri(workspace: Workspace, registry: str | None) -> str:
    """Returns the registry's URI in full: the given URI or path, else $MIXNET_REGISTRY's.

    Where that is not set either, it is the workspace's own.

    Raises:
        InputError: it is not a storage, or holds credentials.
    """
    named = registry or os.environ.get(REGISTRY_VARIABLE)
    refuse_credentials(named)
    return open_storage(named or str(workspace.releases)).uri


def one_registry(registry: str | None, publish_to: str | None) -> str | None:
    """Takes the registry under its name or under its old one.

    Raises:
        InputError: they differ.
    """
    if registry and publish_to and registry != publish_to:
        raise InputError(
            f"two registries, registry {shown(registry)} and publish_to {shown(publish_to)}: name "
            "one"
        )
    return registry or publish_to


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
    found = source_of_folder(path, expected=source)
    changes: dict[str, Any] = {"data.source": found, "data.path": str(path)}
    if found != source:
        changes["data.layout"] = SOURCES.load(found).layout
    if found != source or not SOURCES.load(found).fixed_classes:
        changes["network.num_classes"] = None
    return changes


def _epochs_overrides(recipe: Recipe, epochs: int) -> dict[str, Any]:
    factor = epochs / recipe.training.epochs
    return {
        "training.epochs": epochs,
        "schedule.warmup_epochs": recipe.schedule.warmup_epochs * factor,
        "schedule.decay_epochs": recipe.schedule.decay_epochs * factor,
    }


def _scale_overrides(
    recipe: Recipe, global_batch: int | None, ranks: int | None, hosts: int | None
) -> dict[str, Any]:
    if global_batch is None and ranks is None and hosts is None:
        raise InputError(
            "--scale-lr (scale_lr) scales the rates with the global batch: give --ranks or "
            "--global-batch too"
        )
    changes: dict[str, Any] = {}
    if recipe.schedule.lr_batch is None:
        changes["schedule.lr_batch"] = recipe.training.global_batch
    if global_batch is None:
        count = (ranks or recipe.devices.ranks) * (hosts or recipe.devices.hosts)
        changes["training.global_batch"] = recipe.rank_batch * count
    return changes
