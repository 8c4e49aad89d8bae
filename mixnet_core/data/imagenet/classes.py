"""The 1,000 classes of ILSVRC2012 in label order: WordNet ids, sorted, and their names.

A label is a position in this list, whatever is on a disk. The list and the names are WordNet's and
ILSVRC2012's, taken from timm (timm/data/_info/imagenet_synsets.txt, imagenet_synset_to_lemma.txt).
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources


@cache
def wnids() -> tuple[str, ...]:
    """Returns the WordNet ids, "n01440764" to "n15075141"; the position is the label."""
    return tuple(wnid for wnid, _ in _rows())


@cache
def class_names() -> tuple[str, ...]:
    """Returns the classes' names in label order, synonyms separated by commas."""
    return tuple(name for _, name in _rows())


@cache
def label_of() -> dict[str, int]:
    """Returns WordNet id -> label."""
    return {wnid: label for label, wnid in enumerate(wnids())}


@cache
def _rows() -> tuple[tuple[str, str], ...]:
    text = resources.files("mixnet_core.data.imagenet").joinpath("classes.csv").read_text("utf-8")
    _, *rows = csv.reader(text.splitlines())
    return tuple((wnid, name) for wnid, name in rows)
