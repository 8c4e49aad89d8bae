"""Whole trajectories of training against their formulas, by PyTorch in float64: `make oracle`."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest

from tests.oracle.trajectory import (
    BOUNDS,
    FAULTS,
    PYTHON,
    compared,
    moved_by_rounding,
    trained_by_formulas,
    trained_here,
)
from tests.oracle.trajectory_cases import COVERING, Case, rates_of

pytestmark = pytest.mark.oracle

# Of the mistakes in `trajectory.FAULTS`, those that this project made (`recipe.rules`) and
# others that are easily made; how far off each of all of them is: `--faults` prints it.
MADE = ("NormsDoNotDecay", "NesterovIsMomentum", "EpsilonBesideUncorrectedRoot")
EASILY_MADE = ("DecayIsAHundredthLess", "EachPartClipped", "BiasedVarianceKept")


@pytest.fixture(autouse=True, scope="module")
def pytorch() -> None:
    python = os.environ.get(PYTHON)
    if not python:
        pytest.skip(f"{PYTHON} names no Python with PyTorch: run `make oracle`")
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode:
        pytest.skip(f"{python} lacks torch: run `make oracle`")


@pytest.mark.parametrize("case", COVERING, ids=str)
def test_twelve_steps_are_those_of_the_formulas_in_float64(case: Case) -> None:
    expected = trained_by_formulas(case)
    if case.clip_norm is not None:
        assert min(expected["norms"]) > case.clip_norm
    differences = compared(case, trained_here(case), expected)
    assert differences.over(BOUNDS[case.optimizer]) < 1, differences


@pytest.mark.parametrize("case", COVERING, ids=str)
def test_a_shift_that_rounding_moves_is_moved_by_no_more_than_the_rates(case: Case) -> None:
    found, expected = trained_here(case), trained_by_formulas(case)
    for name in moved_by_rounding(case):
        apart = found[f"value/{name}"] - expected[f"value/{name}"]
        assert np.abs(apart).max() < sum(rates_of(case)), name


@pytest.mark.parametrize("fault", MADE + EASILY_MADE)
def test_a_mistake_in_a_formula_is_seen(fault: str) -> None:
    case = FAULTS[fault]
    mistaken = trained_by_formulas(case, fault=fault)
    differences = compared(case, mistaken, trained_by_formulas(case))
    assert differences.over(BOUNDS[case.optimizer]) > 5, differences


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in MADE + EASILY_MADE])
def test_each_other_mistake_is_over_the_bounds(fault: str) -> None:
    case = FAULTS[fault]
    mistaken = trained_by_formulas(case, fault=fault)
    differences = compared(case, mistaken, trained_by_formulas(case))
    assert differences.over(BOUNDS[case.optimizer]) > 1, differences


@pytest.mark.parametrize("case", COVERING[:3], ids=str)
def test_the_optimizers_of_rules_1_are_seen_to_be_off(case: Case) -> None:
    differences = compared(case, trained_here(case, rules=1), trained_by_formulas(case))
    assert differences.over(BOUNDS[case.optimizer]) > 5, differences
