"""A file's names as MindCV's, whatever convention they follow; see `model.weight_names`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mixnet_core.checkpoints.training_state import AVERAGES_SLOT, WRAPPERS
from mixnet_core.model.weight_names import Convention, mindcv_names, timm_names, variant_of_stem

Shape = tuple[int, ...]

_STEM, _OUR_STEM = "conv_stem.weight", "stem_conv.0.weight"
# Of a network that is none of the variants, for whoever says so.
_ENDS = {_STEM: _OUR_STEM, "classifier.weight": "classifier.weight"}
_BEFORE = WRAPPERS | {AVERAGES_SLOT}


@dataclass(frozen=True)
class Renamed:
    """Says which names of a file are read as others.

    Attributes:
        convention: that they follow.
        stored: MindCV's name -> the file's, for those that differ. Both carry the same before them.
        timm: MindCV's names of the variant -> timm's; {} under MindCV's own.
    """

    convention: Convention
    stored: Mapping[str, str]
    timm: Mapping[str, str]

    def said(self, name: str) -> str:
        """Returns a name as the file has it, or would have it, for messages."""
        return self.stored.get(name) or self.timm.get(name, name)


def renamed(shapes: Mapping[str, Shape]) -> Renamed:
    """Recognises timm's names by that of the first layer, whose width tells the variant.

    Args:
        shapes: name in the file -> shape.
    """
    stems = [name for name in shapes if _inner(name, {_STEM: ""}) == _STEM]
    if not stems:
        return Renamed("mindcv", {}, {})
    shape = shapes[stems[0]]
    variant = variant_of_stem(shape[0]) if shape else None
    names: Mapping[str, str] = _ENDS if variant is None else mindcv_names(variant)
    stored = {}
    for name in shapes:
        inner = _inner(name, names)
        if inner and names[inner] != inner:
            stored[name[: len(name) - len(inner)] + names[inner]] = name
    return Renamed("timm", stored, timm_names(variant) if variant else {})


def _inner(name: str, names: Mapping[str, str]) -> str:
    """Returns the network's name within a file's, behind those of wrapping cells; "": none."""
    while name not in names:
        first, dot, name = name.partition(".")
        if not dot or first not in _BEFORE:
            return ""
    return name
