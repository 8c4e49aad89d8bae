from __future__ import annotations

from typing import Any

import pytest

from mixnet_core.host.clock import kernel_synchronised, skew_of

DATE = "Mon, 30 Nov 2026 01:00:00 GMT"
THERE = 1_796_000_400.0


@pytest.mark.parametrize(("ahead", "expected"), [(0.5, 0.0), (60.5, 60.0), (-899.5, -900.0)])
def test_a_date_header_says_how_far_this_clock_is_ahead(ahead: float, expected: float) -> None:
    skew = skew_of(DATE, THERE + ahead - 0.1, THERE + ahead + 0.1)
    assert skew is not None
    assert skew.seconds == pytest.approx(expected)
    assert skew.within == pytest.approx(1.6)


def test_no_date_is_no_skew() -> None:
    assert skew_of("", 0.0, 0.0) is None
    assert skew_of("yesterday", 0.0, 0.0) is None


def test_the_kernel_says_yes_no_or_nothing() -> None:
    def with_state(code: int, status: int) -> Any:
        def adjtimex(state: Any) -> int:
            state.status = status
            return code

        return adjtimex

    assert kernel_synchronised(with_state(0, 0x2001)) is True
    assert kernel_synchronised(with_state(5, 0)) is False
    assert kernel_synchronised(with_state(0, 0x0040)) is False

    def refused(state: Any) -> int:
        raise PermissionError(1, "Operation not permitted")

    assert kernel_synchronised(refused) is None
    # This one's own word, whatever it is.
    assert kernel_synchronised() in (True, False, None)
