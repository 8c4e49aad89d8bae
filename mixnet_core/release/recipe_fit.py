"""Whether weights on this machine fit the recipe that starts from them, as far as shapes show it.

Training loads them strictly, when images are prepared and MindSpore is up; this takes milliseconds.
"""

from __future__ import annotations

from pathlib import Path

from mixnet_core.checkpoints.file_format import WeightsFile, read_format
from mixnet_core.checkpoints.fit import (
    PARAMETERS,
    SeenNetwork,
    expect_match,
    require_averages,
    seen_network,
)
from mixnet_core.errors import CheckpointMismatch
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.storage.uris import shown


def expect_weights_fit(path: Path, recipe: Recipe) -> str:
    """Makes sure that a file of weights is of the recipe's network.

    Returns:
        In one line what else the file holds and is left out; "" if nothing.

    Raises:
        InputError: there is no such file, it is another program's, or it has no averages where
            weights.ema asks for them.
        IntegrityError: it is damaged.
        CheckpointMismatch: it is of another network or of another number of classes, or holds what
            belongs to no network.
    """
    file = read_format(path)
    network = seen_network(file)
    _expect_network(file, network, recipe)
    if recipe.weights.ema:
        require_averages(file, network.parts)
    unknown = {name: file.shapes[name] for name in network.parts.unknown}
    expect_match({}, unknown, path, said=file.names.said)
    _expect_all(file, network, ema=recipe.weights.ema)
    return network.parts.sentence(ema=recipe.weights.ema, how="weights.ema=true")


def _expect_all(file: WeightsFile, network: SeenNetwork, *, ema: bool) -> None:
    """Counts the parameters; which is missing, if one is, loading tells."""
    found = network.parts.averages if ema else network.parts.weights
    needed = PARAMETERS[network.variant]
    if len(found) != needed:
        what = "moving averages" if ema else "parameters"
        raise CheckpointMismatch(
            f"{shown(str(file.path))} does not fit the network: it has {len(found)} {what} of a "
            f"MixNet-{network.variant.upper()}, expected {needed}; save or fetch it again"
        )


def _expect_network(file: WeightsFile, network: SeenNetwork, recipe: Recipe) -> None:
    wanted, path = recipe.network, shown(str(file.path))
    for key in ("variant", "in_channels"):
        found, said = getattr(network, key), getattr(wanted, key)
        if found != said:
            raise CheckpointMismatch(
                f"{path} does not fit the network: it has network.{key} {found}, the recipe says "
                f"{said}; leave network.{key} out (--set), or give other weights (--weights)"
            )
    classes = wanted.num_classes
    if classes not in (None, network.num_classes) and not recipe.weights.reset_classifier:
        raise CheckpointMismatch(
            f"{path} does not fit the network: it is for {network.num_classes} classes, the recipe "
            f"says {classes}; set weights.reset_classifier=true for a new classifier"
        )
