"""Networks in memory: of a recipe, with weights of a file or of a release."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.release.catalog import find_release
from mixnet_core.stages.options import open_workspace, registry_uri
from mixnet_core.stages.release_to_measure import fetch_release
from mixnet_core.storage.files import fingerprint
from mixnet_core.storage.uris import refuse_credentials

if TYPE_CHECKING:
    from mixnet_core.model.mixnet import MixNet


@dataclass(frozen=True)
class LoadedRelease:
    """A release's network with its weights, and how its images are read.

    Attributes:
        recipe: `recipe.input` says size, crop, mean and std of its images.
        classes: names in label order; None where the release does not say them.
        network: (N, in_channels, S, S) float32 -> logits (N, classes) float32; for evaluation.
        sha256: hex, of the weights file, verified.
    """

    name: str
    recipe: Recipe
    classes: tuple[str, ...] | None
    network: MixNet
    sha256: str


def build_network(recipe: Recipe, classes: int | None = None) -> MixNet:
    """Builds a recipe's network, freshly initialised; seed MindSpore before for a reproducible one.

    Args:
        classes: width of the classifier; None: what the recipe says.

    Raises:
        InputError: neither says how many classes there are.

    Example:
        >>> import mixnet_core
        >>> network = mixnet_core.build_network(mixnet_core.load_recipe("digits"))
        >>> sum(parameter.size for parameter in network.trainable_params())
        2612976
    """
    from mixnet_core.model.mixnet import build_model

    network = recipe.network
    width = classes or network.num_classes
    if width is None:
        raise InputError(
            "network.num_classes is null, as many as the dataset has: say how many as classes"
        )
    return build_model(
        network.variant,
        width,
        network.in_channels,
        flavour=network.flavour,
        stem_stride=network.stem_stride,
    )


def load_weights(network: MixNet, file: str | Path) -> None:
    """Loads a `.ckpt` or `.safetensors` file into a network, every name and shape, or nothing.

    Raises:
        InputError: there is no such file.
        IntegrityError: it cannot be read, or holds values that are no numbers.
        CheckpointMismatch: a parameter is missing, unknown or of another shape.

    Example:
        >>> import glob
        >>> import mixnet_core
        >>> network = mixnet_core.build_network(mixnet_core.load_recipe("digits"))
        >>> (file,) = glob.glob("workspace/releases/tiny/weights-*.ckpt")
        >>> mixnet_core.load_weights(network, file)
    """
    from mixnet_core.checkpoints import store

    refuse_credentials(str(file))
    store.load_weights(network, Path(file))


def load_release(
    name_or_uri: str, *, registry: str | None = None, workspace: str | None = None
) -> LoadedRelease:
    """Fetches a release, verifies it and loads it.

    Args:
        name_or_uri: of a catalog entry, of a release in the registry, or a release's URI.
        registry: URI or folder; None: the workspace's own.
        workspace: folder that keeps what is fetched; None: $MIXNET_HOME, else ./workspace.

    Raises:
        InputError: nothing has this name.
        IntegrityError: what is stored is not what was published.
        MachineError, TransientError: the registry cannot be read.

    Example:
        >>> import mixnet_core
        >>> release = mixnet_core.load_release("tiny")
        >>> release.classes
        ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    """
    opened = open_workspace(workspace)
    release = find_release(name_or_uri, registry_uri(opened, registry))
    # Of its own: another release's recipe may be fetched at the same time.
    folder = opened.root / "loaded" / fingerprint([release.model_dump(mode="json")])[:12]
    fetched = fetch_release(release, folder, cache=opened.weights)
    classes = fetched.classes
    width = len(classes) if classes is not None else fetched.recipe.network.num_classes
    if width is None:
        raise IntegrityError(f"release {fetched.name} does not say its classes: publish it again")
    network = build_network(fetched.recipe, width)
    load_weights(network, fetched.weights)
    network.set_train(False)
    return LoadedRelease(fetched.name, fetched.recipe, classes, network, fetched.sha256)
