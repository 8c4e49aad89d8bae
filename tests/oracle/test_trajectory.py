"""Whole training steps against their formulas in float64 (`trajectory`)."""

from __future__ import annotations

from collections.abc import Iterator

import mindspore
import pytest

from tests.oracle.trajectory import BOUNDS, Case, Worst, compared

pytestmark = pytest.mark.oracle

# Every pair of values of variant, optimizer, parts and clipping is in one of them.
CASES = (
    Case("s", "momentum", 1, False),
    Case("s", "nesterov", 2, True),
    Case("s", "adamw", 1, True, "plain"),
    Case("m", "momentum", 2, True),
    Case("m", "nesterov", 1, False),
    Case("m", "adamw", 2, False),
    Case("l", "momentum", 1, True),
    Case("l", "nesterov", 2, False),
    Case("l", "adamw", 1, False),
)


@pytest.fixture(autouse=True)
def mode() -> Iterator[None]:
    before = mindspore.get_context("mode")
    yield
    mindspore.set_context(mode=before)


def factors(worst: Worst) -> dict[str, float]:
    """Of each bound."""
    return {name: getattr(worst, name) / bound for name, bound in BOUNDS.items()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_twelve_steps_are_those_of_the_formulas(case: Case) -> None:
    worst = compared(case)
    assert {n: f for n, f in factors(worst).items() if f > 1} == {}, worst


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov", "adamw"])
def test_a_decay_that_spares_batchnorm_is_far_out_of_bounds(optimizer: str) -> None:
    assert factors(compared(Case("s", optimizer, 1, False), rules=1))["weight"] > 20
