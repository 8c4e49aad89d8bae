"""How many MindRecord shards a split has, and which images are in which."""

from __future__ import annotations

from collections.abc import Sequence

# Large enough that a million images are a few hundred files, small enough to copy or fetch singly.
SHARD_BYTES = 512 * 1024 * 1024


def shard_ranges(sizes: Sequence[int], shard_bytes: int = SHARD_BYTES) -> list[range]:
    """Consecutive positions a shard: as few shards of at most `shard_bytes` as that allows.

    An image larger than that has a shard of its own.

    Args:
        sizes: of the images' files, bytes, at least one.
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
    return f"{split}-{number:05d}.mindrecord"
