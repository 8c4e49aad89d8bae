"""The MindRecord shards of a split: how many there are, and which images each holds."""

from __future__ import annotations

from collections.abc import Sequence

# Large enough that a million images are a few hundred files, small enough to copy or fetch singly.
SHARD_BYTES = 512 * 1024 * 1024


def shard_ranges(sizes: Sequence[int], shard_bytes: int = SHARD_BYTES) -> list[range]:
    """Divides a split into as few shards of at most `shard_bytes` as its order allows.

    An image larger than that has a shard of its own.

    Args:
        sizes: of the images' files, bytes, at least one.

    Returns:
        Consecutive positions for each shard.
    """
    ranges: list[range] = []
    first = held = 0
    for position, size in enumerate(sizes):
        if held and held + size > shard_bytes:
            ranges.append(range(first, position))
            first, held = position, 0
        held += size
    return [*ranges, range(first, len(sizes))]


def shard_name(split: str, number: int) -> str:
    """Returns the file name of a split's shard; numbers count from 0."""
    return f"{split}-{number:05d}.mindrecord"
