"""Pairs of 64-bit hashes that differ in few bits, found without comparing each with each.

Letters: H hashes, E pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mixnet_core.errors import InputError

BITS = 64
# Beyond it images that have nothing in common are taken for alike.
MOST_BITS = 10
# More would fill the memory, and nobody reads them.
MOST_PAIRS = 20_000_000
# A bucket is compared by so many rows at a time.
_ROWS = 256


def pairs_within(hashes: NDArray[np.uint64], distance: int) -> NDArray[np.int64]:
    """Finds the pairs of hashes that differ in at most `distance` bits.

    The bits are cut into `distance` + 1 bands. Two hashes that differ in no more bits than that
    agree in one band at least, so only those that share one are compared.

    Args:
        hashes: (H,), all different.

    Returns:
        (E, 2), positions in `hashes`, each pair once, in order.

    Raises:
        InputError: they are more than MOST_PAIRS.
    """
    found = [np.empty(0, np.int64)]
    new = 0
    for low, high in _bands(distance + 1) if distance else ():
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            for keys in _pairs_in(bucket, hashes, distance):
                found.append(keys)
                new += len(keys)
            if new > MOST_PAIRS:
                # A pair that shares several bands was found in each.
                found = [np.unique(np.concatenate(found))]
                new = 0
                if len(found[0]) > MOST_PAIRS:
                    raise InputError(
                        f"more than {MOST_PAIRS:,} pairs of images look alike within {distance} of "
                        f"{BITS} bits: ask for fewer bits"
                    )
    keys = np.unique(np.concatenate(found))
    return np.stack(np.divmod(keys, max(1, len(hashes))), axis=1)


def _bands(count: int) -> Iterator[tuple[int, int]]:
    """Cuts the bits into so many pieces of nearly the same length: (first, one after the last)."""
    ends = [BITS * i // count for i in range(count + 1)]
    yield from pairwise(ends)


def _pairs_in(
    bucket: NDArray[np.int64], hashes: NDArray[np.uint64], distance: int
) -> Iterator[NDArray[np.int64]]:
    """Compares the hashes of a bucket with each other.

    Yields:
        Of each pair one number: the smaller position times H, plus the larger one.
    """
    bucket = np.sort(bucket)
    for start in range(0, len(bucket) - 1, _ROWS):
        some, rest = bucket[start : start + _ROWS], bucket[start:]
        near = _differing(hashes[some][:, None] ^ hashes[rest][None, :]) <= distance
        one, other = np.nonzero(near)
        keep = some[one] < rest[other]
        yield some[one[keep]] * len(hashes) + rest[other[keep]]


def _differing(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Counts the ones of each number; NumPy 1 has no function for it."""
    one, two, four, eight = (np.uint64(n) for n in (1, 2, 4, 56))
    bits = bits - ((bits >> one) & np.uint64(0x5555555555555555))
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> two) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> four)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (bits * np.uint64(0x0101010101010101)) >> eight
