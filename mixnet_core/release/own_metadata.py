"""What a file that this project exported says of itself; `exports.metadata` lists the keys.

Whoever else writes texts of these names means the same: what cannot be is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mixnet_core.model.variants import FLAVOURS, FlavourName
from mixnet_core.release.hub_config import classes_of, input_of

FLAVOUR, STEM = "flavour", "stem_stride"


def flavour_in(said: Mapping[str, str]) -> FlavourName | None:
    """Returns the flavour; None where it is not said."""
    return next((flavour for flavour in FLAVOURS if flavour == said.get(FLAVOUR)), None)


def stem_stride_in(said: Mapping[str, str]) -> int | None:
    """Returns the stem's stride; None where it is not said."""
    return int(said[STEM]) if said.get(STEM) in ("1", "2") else None


def classes_in(said: Mapping[str, str]) -> tuple[str, ...] | None:
    """Returns the names in label order; None where they are not said."""
    return classes_of(_value(said, "classes"))


def input_in(said: Mapping[str, str]) -> dict[str, Any]:
    """Returns keys of a recipe's input section."""
    size = _value(said, "image_size")
    config = {
        "input_size": [3, size, size],
        "crop_pct": _value(said, "crop_pct"),
        "interpolation": said.get("interpolation"),
        "mean": _value(said, "mean"),
        "std": _value(said, "std"),
    }
    return input_of(config, largest=1)


def _value(said: Mapping[str, str], key: str) -> Any:
    try:
        return json.loads(said.get(key, "null"))
    except (ValueError, RecursionError):
        return None
