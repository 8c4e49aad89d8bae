"""The order in which the parts of a step are added up: the same on any number of ranks.

Floating-point sums depend on their order. Here the order is a tree over virtual ranks, fixed by how
many they are:

    0 1   2 3   4 5
    0..1  2..3  4..5     neighbours that begin at an even number
    0..3        4..5     and again, as long as there are two
    0..5

A rank holds neighbours, adds up what of the tree lies whole within them, and hands on the sums that
are left: one where both numbers are powers of two, never more than two for each level of the tree.
Whoever has the sums of all ranks adds up the rest. Each sum has two operands, so that it does not
matter either which of them an AllReduce of two ranks takes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar


class Addable(Protocol):
    """Describes what can be added up: a number, an array, a tensor."""

    def __add__(self, other: Any, /) -> Any: ...


T = TypeVar("T", bound=Addable)


class Span(NamedTuple):
    """Names virtual ranks whose parts one sum holds: `size` of them, from `first`.

    `size` is a power of two that divides `first`.
    """

    first: int
    size: int


class Summing(Generic[T]):
    """Adds up the parts of a rank's virtual ranks, as far as the tree allows."""

    def __init__(self) -> None:
        self._sums: list[tuple[Span, T]] = []

    def add(self, number: int, part: T) -> None:
        """Takes the part of a virtual rank, in the order of their numbers, without a gap."""
        span, total = Span(number, 1), part
        while self._sums:
            before, held = self._sums[-1]
            if before.size != span.size or before.first % (2 * span.size):
                break
            self._sums.pop()
            span, total = Span(before.first, 2 * span.size), held + total
        self._sums.append((span, total))

    def taken(self) -> list[T]:
        """Returns the sums that are left, in order, as `spans` names them, and begins anew."""
        sums, self._sums = self._sums, []
        return [total for _, total in sums]


def spans(first: int, end: int) -> list[Span]:
    """Returns which sums are left of the virtual ranks from `first` to below `end`."""
    found: list[Span] = []
    while first < end:
        count = 1
        while first % (2 * count) == 0 and first + 2 * count <= end:
            count *= 2
        found.append(Span(first, count))
        first += count
    return found


def total_of(sums: Mapping[Span, T], virtual_ranks: int) -> T:
    """Adds up the sums of all ranks.

    Args:
        sums: as `spans` names them, of all virtual ranks together.
        virtual_ranks: how many there are.
    """
    count = 1
    while count < virtual_ranks:
        count *= 2
    return _total(sums, Span(0, count), virtual_ranks)


def _total(sums: Mapping[Span, T], span: Span, virtual_ranks: int) -> T:
    if span in sums:
        return sums[span]
    half = span.size // 2
    left = _total(sums, Span(span.first, half), virtual_ranks)
    middle = span.first + half
    if middle >= virtual_ranks:
        return left
    total: T = left + _total(sums, Span(middle, half), virtual_ranks)
    return total
