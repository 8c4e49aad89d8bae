"""What is known of a file of weights that lies in no release and no run: flavour, pixels, classes.

Shapes tell the variant and never the flavour, and timm's ports of TensorFlow's weights have timm's
names. Who tells more, the first that does:

    the catalog      by the file's digest
    config.json      beside it, as timm and the Hugging Face hub have it
    the file itself  the texts in a .safetensors or an .onnx file, as exports have them
    its name         tf_mixnet_s.pth
    its names        timm's: timm is assumed, and said; MindCV's: nothing
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mixnet_core.checkpoints.file_format import WeightsFile
from mixnet_core.model.variants import FlavourName
from mixnet_core.release.catalog import CatalogEntry, entry_of
from mixnet_core.release.hub_config import CONFIG, HubConfig, config_beside, flavour_of_name
from mixnet_core.release.own_metadata import classes_in, flavour_in, input_in, stem_stride_in
from mixnet_core.storage.uris import shown

_ITSELF = "the file itself"


@dataclass(frozen=True)
class Told:
    """Holds what is known of a file.

    Attributes:
        network: keys of a recipe's network section.
        input: keys of its input section.
        classes: names in label order; None where nobody says them.
        who: says the classes and the flavour, for people; "" where nobody does.
        entry: of the catalog, which has its digest.
        assumed: what was assumed of the flavour and why, in one line; "" if nothing was.
    """

    network: dict[str, Any] = field(default_factory=dict)
    input: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    who: str = ""
    entry: CatalogEntry | None = None
    assumed: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """Returns the network's keys of a recipe, dotted."""
        return {f"network.{key}": value for key, value in self.network.items()}

    @property
    def input_settings(self) -> dict[str, Any]:
        """Returns the input's keys of a recipe, dotted."""
        return {f"input.{key}": value for key, value in self.input.items()}


def told_by(entry: CatalogEntry) -> Told:
    """Returns what a catalog entry says of its weights."""
    network = {"flavour": entry.flavour, "stem_stride": entry.stem_stride}
    return Told(network, entry.input_keys, entry.classes, f"the catalog's {entry.name}", entry)


def told_of(file: WeightsFile, sha256: str, variant: str) -> Told:
    """Finds out what is known of a file.

    Args:
        sha256: hex, of the whole file.
        variant: that its shapes show.

    Raises:
        MixnetError: the catalog, or what stands beside the file, cannot be read.
    """
    entry = entry_of(sha256)
    if entry is not None:
        return told_by(entry)
    config = config_beside(file.path, variant)
    flavour, who = _flavour(file, config)
    network: dict[str, Any] = {}
    assumed = ""
    if flavour is not None:
        network["flavour"] = flavour
    elif file.names.convention == "timm":
        network["flavour"] = "timm"
        assumed = (
            "its parameters have timm's names, so its network.flavour is taken for timm; for "
            "weights of TensorFlow's, which timm calls tf_mixnet, it is tf"
        )
    itself = told_by_itself(file.metadata)
    stride = config.stem_stride if config else None
    if stride or "stem_stride" in itself.network:
        network["stem_stride"] = stride or itself.network["stem_stride"]
    classes = config.classes if config else None
    if classes is None:
        classes, who = itself.classes, who or itself.who
    return Told(
        network,
        itself.input | (config.input if config else {}),
        classes,
        who,
        assumed=assumed,
    )


def told_by_itself(said: Mapping[str, str]) -> Told:
    """Returns what the texts in a file say, as this project's exports have them."""
    flavour, stride, classes = flavour_in(said), stem_stride_in(said), classes_in(said)
    network = {"flavour": flavour, "stem_stride": stride}
    return Told(
        {key: value for key, value in network.items() if value is not None},
        input_in(said),
        classes,
        _ITSELF if flavour or classes else "",
    )


def _flavour(file: WeightsFile, config: HubConfig | None) -> tuple[FlavourName | None, str]:
    """Returns the flavour, and who says so; None: nobody."""
    found = [
        (config.flavour if config else None, f"the {CONFIG} beside it"),
        (flavour_in(file.metadata), _ITSELF),
    ]
    if file.names.convention == "timm":
        # MindCV's models are called mixnet_s too.
        found += [
            (config.of_name if config else None, f"the {CONFIG} beside it"),
            (flavour_of_name(file.path.name), f"its name, {shown(file.path.name)}"),
        ]
    return next(((flavour, who) for flavour, who in found if flavour), (None, ""))
