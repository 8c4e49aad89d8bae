"""The `config.json` that timm and the Hugging Face hub keep beside a file of weights.

    {"architecture": "tf_mixnet_s", "num_classes": 10, "label_names": ["cat", ...],
     "pretrained_cfg": {"input_size": [3, 224, 224], "crop_pct": 0.875, "interpolation": "bicubic",
                        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
     "mixnet": {"flavour": "mindcv", "stem_stride": 1}}

The last line is this project's. Programs have many files of this name: what is not of a MixNet is
passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixnet_core.errors import IntegrityError
from mixnet_core.model.variants import FLAVOURS, FlavourName
from mixnet_core.storage.files import read_json

CONFIG = "config.json"
_MOST_BYTES = 16 * 1024 * 1024
_TF = "tf_mixnet_"
_VARIANT = re.compile(r"mixnet_([a-z]+)")


@dataclass(frozen=True)
class HubConfig:
    """Says what a config.json tells of a MixNet.

    Attributes:
        architecture: timm's name of it.
        of_name: the flavour that the name stands for; None: it is no name of timm's.
        flavour: as this project's own exports state it; None: not stated.
        input: keys of a recipe's input section.
        classes: names in label order; None where it has none.
        stem_stride: as this project's own exports state it; None: not stated.
    """

    architecture: str
    of_name: FlavourName | None
    flavour: FlavourName | None = None
    input: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    stem_stride: int | None = None


def _variant_of_name(name: str) -> str | None:
    found = _VARIANT.search(name.lower())
    return found[1] if found else None


def flavour_of_name(name: str) -> FlavourName | None:
    """Returns the flavour that a name of timm's stands for, as `tf_mixnet_s.in1k`; None: none."""
    # What people put before it, as in my-tf_mixnet_s.pth, is no other flavour's.
    if _TF in name.lower():
        return "tf"
    return "timm" if name.lower().startswith("mixnet_") else None


def config_beside(file: Path, variant: str) -> HubConfig | None:
    """Reads the config.json in a file's folder; None where there is none of such a MixNet.

    Args:
        variant: that the file's shapes show; of another one are the flavour and the pixels too.

    Raises:
        MachineError: it cannot be read from disk.
    """
    path = file.parent / CONFIG
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return None
    try:
        found = read_json(path)
    except IntegrityError:
        return None
    config = parse_config(found)
    return config if config and _variant_of_name(config.architecture) == variant else None


def parse_config(found: Any) -> HubConfig | None:
    """Takes what a config.json says of a MixNet, and nothing that cannot be; None: of another."""
    if not isinstance(found, dict):
        return None
    architecture = found.get("architecture")
    if not isinstance(architecture, str) or "mixnet_" not in architecture:
        return None
    inner = found.get("pretrained_cfg")
    config = inner if isinstance(inner, dict) else found
    own = found.get("mixnet")
    own = own if isinstance(own, dict) else {}
    names = found.get("label_names") or config.get("label_names")
    stated = own.get("flavour")
    return HubConfig(
        architecture=architecture,
        of_name=flavour_of_name(architecture),
        flavour=next((flavour for flavour in FLAVOURS if flavour == stated), None),
        input=input_of(config),
        classes=classes_of(names),
        stem_stride=own["stem_stride"] if own.get("stem_stride") in (1, 2) else None,
    )


def classes_of(names: Any) -> tuple[str, ...] | None:
    """Takes names of classes; None for what cannot be."""
    if not isinstance(names, list) or not names or len(set(map(str, names))) != len(names):
        return None
    # JSON can write half a character, which no file in UTF-8 can.
    return tuple(names) if all(isinstance(name, str) and _is_text(name) for name in names) else None


def _is_text(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def input_of(config: dict[str, Any], *, largest: int = 255) -> dict[str, Any]:
    """Takes what timm's keys say of how images are read: keys of a recipe's input section.

    Args:
        largest: value of a pixel that mean and std are a share of; 1: they are of 0 to 255.
    """
    found: dict[str, Any] = {}
    size = config.get("input_size")
    if isinstance(size, list) and len(size) == 3 and _is_whole(size[1]) and size[1] == size[2]:
        found["image_size"] = size[1]
    crop: Any = config.get("crop_pct")
    if _is_number(crop) and 0 < crop <= 1:
        found["crop_pct"] = float(crop)
    if config.get("interpolation") in ("bilinear", "bicubic"):
        found["interpolation"] = config["interpolation"]
    for key in ("mean", "std"):
        shares = config.get(key)
        if not isinstance(shares, list) or not all(map(_is_number, shares)):
            continue
        # timm's are shares of the largest value, a recipe's are of 0 to 255.
        values = [round(largest * share, 6) for share in shares * (4 - len(shares))][:3]
        if len(shares) in (1, 3) and (key == "mean" or all(values)):
            found[key] = values
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 4 <= value <= 1024
