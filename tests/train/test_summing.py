"""Parts are added up in one order, on however many ranks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mixnet_core.train.summing import Span, Summing, spans, total_of

MOST = 33


def parts_of(virtual_ranks: int) -> NDArray[np.float32]:
    """Numbers whose sums depend on their order."""
    draw = np.random.default_rng(virtual_ranks)
    sizes = 10.0 ** draw.integers(-4, 4, (virtual_ranks, 200))
    return (draw.standard_normal((virtual_ranks, 200)) * sizes).astype(np.float32)


def added_up(parts: NDArray[np.float32], ranks: int) -> bytes:
    """The total, as so many ranks come to it."""
    sums: dict[Span, NDArray[np.float32]] = {}
    own = len(parts) // ranks
    for rank in range(ranks):
        summing: Summing[NDArray[np.float32]] = Summing()
        for number in range(rank * own, (rank + 1) * own):
            summing.add(number, parts[number])
        of_rank = spans(rank * own, (rank + 1) * own)
        sums |= dict(zip(of_rank, summing.taken(), strict=True))
        assert summing.taken() == []
    return total_of(sums, len(parts)).tobytes()


@pytest.mark.parametrize("virtual_ranks", range(1, MOST))
def test_any_number_of_ranks_that_divides_them_comes_to_the_same_bits(virtual_ranks: int) -> None:
    parts = parts_of(virtual_ranks)
    divisors = [ranks for ranks in range(1, virtual_ranks + 1) if virtual_ranks % ranks == 0]
    assert len({added_up(parts, ranks) for ranks in divisors}) == 1
    np.testing.assert_allclose(
        np.frombuffer(added_up(parts, 1), np.float32),
        parts.sum(axis=0, dtype=np.float64),
        rtol=1e-3,
        atol=1e-2,
    )


def test_these_numbers_would_tell_another_order() -> None:
    parts = parts_of(8)
    in_a_row = parts[0]
    for part in parts[1:]:
        in_a_row = in_a_row + part
    assert in_a_row.tobytes() != added_up(parts, 1)


def test_of_powers_of_two_a_rank_has_one_sum() -> None:
    for ranks in (1, 2, 4, 8, 16):
        own = 16 // ranks
        assert [spans(r * own, (r + 1) * own) for r in range(ranks)] == [
            [Span(r * own, own)] for r in range(ranks)
        ]
