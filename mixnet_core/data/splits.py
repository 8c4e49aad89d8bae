"""The split of every image: train, select or val.

They are cut in this order, seeded by `split_seed`, independent of the file system's order:

    val      the source's own, else `val_share` of every class
    limit    `train_limit` bounds how many of the rest are kept: the same number of every class, as
             far as there are enough
    select   `select_share` of every class of what was kept
    train    what is left: train and select together keep to `train_limit`

A share is rounded to whole images, at least one. Each class is shuffled once, then cut into
consecutive pieces: another `train_limit` or `select_share` leaves val as it is, another image in
one class leaves the other classes as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixnet_core.data.source import Images, Source
from mixnet_core.errors import DatasetError
from mixnet_core.recipe.sections import Data


@dataclass(frozen=True, eq=False)
class Part:
    """Says which images form a split.

    Attributes:
        split: "train", "select" or "val".
        images: of the source.
        positions: in `images`, by label, then by name.
    """

    split: str
    images: Images
    positions: list[int]


def cut(source: Source, data: Data) -> tuple[Part, Part, Part]:
    """Cuts the splits train, select and val; no image is in two of them.

    Args:
        data: the recipe's section, which says the shares and the limit.

    Raises:
        DatasetError: there is one class, or a class has too few images to have one in each of the
            splits cut from it.
    """
    _expect_several(source)
    classes = _shuffled_classes(source, data.split_seed)
    val: list[int] = []
    if source.val is None:
        _expect(source, classes, 3, "train, select and val")
        counts = [_share(len(positions), data.val_share, leave=2) for positions in classes]
        val = _heads(classes, counts)
        classes = _tails(classes, counts)
    else:
        _expect(source, classes, 2, "train and select")
    kept = _even([len(positions) for positions in classes], data.train_limit)
    limits = [limit for limit, positions in zip(kept, classes, strict=True) if positions]
    if min(limits) < 2:
        raise DatasetError(
            f"data.train_limit {data.train_limit} leaves a class {min(limits)} images, expected at "
            f"least 2, one each for train and select: raise it to {2 * len(limits)} or more"
        )
    classes = [positions[:limit] for positions, limit in zip(classes, kept, strict=True)]
    counts = [_share(limit, data.select_share, leave=1) for limit in kept]
    return (
        _part("train", source.train, [i for tail in _tails(classes, counts) for i in tail]),
        _part("select", source.train, _heads(classes, counts)),
        _part("val", source.train, val) if source.val is None else whole_val(source),
    )


def whole_val(source: Source) -> Part:
    """Returns the val split of a source that has one of its own."""
    assert source.val is not None
    return _part("val", source.val, list(range(len(source.val.names))))


def _shuffled_classes(source: Source, seed: int) -> list[list[int]]:
    """Returns the positions in `source.train`, shuffled, one list per class."""
    names, labels = source.train.names, source.train.labels
    classes: list[list[int]] = [[] for _ in source.classes]
    for position in sorted(range(len(names)), key=names.__getitem__):
        classes[labels[position]].append(position)
    return [
        [positions[i] for i in np.random.default_rng((seed, label)).permutation(len(positions))]
        for label, positions in enumerate(classes)
    ]


def _expect_several(source: Source) -> None:
    """Refuses a single class, which every network tells from nothing with 100 %."""
    if len(source.classes) < 2:
        raise DatasetError(
            f"there is one class, {source.classes[0]!r}: expected at least two to tell apart; "
            "name the folder one level up, or add the other classes"
        )


def _expect(source: Source, classes: list[list[int]], needed: int, splits: str) -> None:
    for name, positions in zip(source.classes, classes, strict=True):
        if len(positions) < needed and (positions or not source.sparse):
            raise DatasetError(
                f"class {name!r} has {len(positions)} training image{'s' * (len(positions) != 1)}, "
                f"expected at least {needed}, one each for {splits}: add images or remove the class"
            )


def _share(count: int, share: float, leave: int) -> int:
    """Returns a share of `count` as a whole number, at least 1, so that at least `leave` are left.

    It is 0 where `count` is 0.
    """
    return count and min(max(1, int(count * share + 0.5)), count - leave)


def _even(available: list[int], limit: int | None) -> list[int]:
    """Divides `limit` among the classes as equally as `available` allows.

    What does not divide goes to later classes.
    """
    if limit is None:
        return available
    kept = [0] * len(available)
    left = limit
    # The scarcest first, so that what they cannot give is shared among the others.
    for done, label in enumerate(sorted(range(len(available)), key=available.__getitem__)):
        kept[label] = min(available[label], left // (len(available) - done))
        left -= kept[label]
    return kept


def _heads(classes: list[list[int]], counts: list[int]) -> list[int]:
    """Returns the first positions of every class, as many as `counts` says, in one list."""
    return [i for positions, n in zip(classes, counts, strict=True) for i in positions[:n]]


def _tails(classes: list[list[int]], counts: list[int]) -> list[list[int]]:
    """Returns what `_heads` leaves of every class."""
    return [positions[n:] for positions, n in zip(classes, counts, strict=True)]


def _part(split: str, images: Images, positions: list[int]) -> Part:
    positions = sorted(positions, key=lambda i: (images.labels[i], images.names[i]))
    return Part(split, images, positions)
