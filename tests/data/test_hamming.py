"""Pairs of hashes within a distance, beside a count by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from mixnet_core.data import hamming
from mixnet_core.data.hamming import pairs_within
from mixnet_core.errors import InputError


def hashes(count: int, clusters: int) -> list[int]:
    """So many different ones, around fewer centres: at all distances from 1 to some."""
    random = np.random.default_rng(count)
    centres = random.integers(0, 2**64, clusters, dtype=np.uint64)
    found = set()
    while len(found) < count:
        value = int(random.choice(centres))
        for bit in random.integers(0, 64, random.integers(0, 9)).tolist():
            value ^= 1 << bit
        found.add(value)
    return sorted(found)


def by_brute_force(values: list[int], distance: int) -> list[list[int]]:
    return [
        [i, j]
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if (values[i] ^ values[j]).bit_count() <= distance
    ]


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 7, 10])
def test_they_are_those_of_brute_force_each_once(distance: int) -> None:
    values = hashes(600, 12)
    expected = by_brute_force(values, distance)
    assert len(expected) > 50
    assert pairs_within(np.array(values, np.uint64), distance).tolist() == expected


def test_different_hashes_are_not_within_nothing() -> None:
    assert pairs_within(np.array([1, 2, 3], np.uint64), 0).shape == (0, 2)
    assert pairs_within(np.array([], np.uint64), 4).shape == (0, 2)
    assert pairs_within(np.array([7], np.uint64), 4).shape == (0, 2)


def test_a_bucket_that_is_larger_than_a_piece_is_compared_whole() -> None:
    # All bits but the lowest ten are the same: nearly every band is one bucket.
    values = list(range(1024))
    found = pairs_within(np.array(values, np.uint64), 1)
    assert found.tolist() == by_brute_force(values, 1)
    assert len(found) == 1024 * 10 // 2


def test_more_pairs_than_anybody_reads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "MOST_PAIRS", 5000)
    every = np.arange(1024, dtype=np.uint64)
    with pytest.raises(InputError, match=r"5,000 pairs.*within 1 of 64 bits: ask for fewer bits"):
        pairs_within(every, 1)
    # As many as are found in several bands, but each of them is one.
    monkeypatch.setattr(hamming, "MOST_PAIRS", 5120)
    assert len(pairs_within(every, 1)) == 5120
