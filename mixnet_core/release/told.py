"""What is known of a file of weights that lies in no release and no run: flavour, pixels, classes.

Shapes tell the variant and never the flavour, and timm's ports of TensorFlow's weights have timm's
names. Who tells more, the first that does:

    the catalog      by the file's digest
    config.json      beside it, as timm and the Hugging Face hub have it
    the file itself  in the texts of a .safetensors file, as `mixnet export` writes them
    its name         tf_mixnet_s.pth
    its names        timm's: timm is assumed, and said; MindCV's: nothing
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from mixnet_core.checkpoints.file_format import WeightsFile
from mixnet_core.model.variants import FLAVOURS, FlavourName
from mixnet_core.release.catalog import CatalogEntry, EntryInput, entry_of
from mixnet_core.release.hub_config import CONFIG, HubConfig, config_beside, flavour_of_name
from mixnet_core.storage.uris import shown

METADATA_FLAVOUR, METADATA_STEM = "flavour", "stem_stride"


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


def told_of(file: WeightsFile, sha256: str) -> Told:
    """Finds out what is known of a file.

    Args:
        sha256: hex, of the whole file.

    Raises:
        MixnetError: the catalog, or what stands beside the file, cannot be read.
    """
    entry = entry_of(sha256)
    if entry is not None:
        return told_by(entry)
    config = config_beside(file.path)
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
    stated = file.metadata.get(METADATA_STEM)
    if config is not None and config.stem_stride is not None:
        network["stem_stride"] = config.stem_stride
    elif stated in ("1", "2"):
        network["stem_stride"] = int(stated)
    pixels, classes = _of_itself(file)
    return Told(
        network,
        config.input if config else pixels,
        config.classes if config else classes,
        who,
        assumed=assumed,
    )


def _of_itself(file: WeightsFile) -> tuple[dict[str, Any], tuple[str, ...] | None]:
    """Returns how images are read and the classes, as far as a file's own texts say them.

    Another program's texts may mean something else: what does not read as ours says nothing.
    """
    said: dict[str, Any] = {}
    for key in (*EntryInput.model_fields, "classes"):
        text = file.metadata.get(key, "")
        try:
            said[key] = text if key == "interpolation" else json.loads(text)
        except (ValueError, RecursionError):
            continue
    classes = said.pop("classes", None)
    names = (
        tuple(classes)
        if isinstance(classes, list) and classes and all(isinstance(n, str) for n in classes)
        else None
    )
    for key in ("mean", "std"):
        if isinstance(said.get(key), list):
            # One grey channel uses the first of three.
            said[key] = said[key] * 3 if len(said[key]) == 1 else said[key]
    try:
        return EntryInput.model_validate(said).model_dump(exclude_none=True), names
    except ValidationError:
        return {}, names


def _flavour(file: WeightsFile, config: HubConfig | None) -> tuple[FlavourName | None, str]:
    """Returns the flavour, and who says so; None: nobody."""
    of_itself = next((f for f in FLAVOURS if f == file.metadata.get(METADATA_FLAVOUR)), None)
    found = [
        (config.flavour if config else None, f"the {CONFIG} beside it"),
        (of_itself, "the file itself"),
    ]
    if file.names.convention == "timm":
        # MindCV's models are called mixnet_s too.
        found += [
            (config.of_name if config else None, f"the {CONFIG} beside it"),
            (flavour_of_name(file.path.name), f"its name, {shown(file.path.name)}"),
        ]
    return next(((flavour, who) for flavour, who in found if flavour), (None, ""))
