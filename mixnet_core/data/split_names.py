"""Which folder or list of a dataset is meant by a split: people name them in several ways.

    train   train, training
    val     val, valid, validation, else test, testing

In any case of letters. Of several that fit, the first of this order is taken, and exactly so
written before otherwise; the others are left out, and said (`data.account`). A test split stands in
for val only where there is none: val is what is measured once, at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "test", "testing"),
}
Part = Literal["train", "val"]


def candidates(names: Iterable[str], part: Part, *, suffix: str = "") -> list[str]:
    """Returns those of the names that may be meant by a part, the likeliest first.

    Args:
        names: of a dataset's folders, or of its files.
        suffix: what they end with, ".csv".
    """
    order = {f"{name}{suffix}": place for place, name in enumerate(_NAMES[part])}
    found = [name for name in names if name.lower() in order]
    return sorted(found, key=lambda name: (order[name.lower()], name != name.lower(), name))
