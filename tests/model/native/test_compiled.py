"""The compiled operators against float64, element by element, called as MindSpore calls them."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.model.native import build
from mixnet_core.model.native.levels import LEVELS, flags_for
from tests.model.native import cases
from tests.model.native.compiled import Compiled

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def compiled(real: Path) -> Compiled:
    return Compiled(real)


def expect_all(compiled: Compiled, group: str) -> None:
    drawn = list(cases.GROUPS[group]())
    assert drawn
    for case in drawn:
        cases.expect_exact(compiled, case)


@pytest.mark.parametrize("group", cases.GROUPS)
def test_results_are_exact_and_only_the_outputs_are_written(compiled: Compiled, group: str) -> None:
    expect_all(compiled, group)


@pytest.mark.parametrize("activation", ["none", "relu", "swish"])
def test_a_value_that_is_no_number_stays_none(compiled: Compiled, activation: str) -> None:
    """In a whole vector and in the rest of a row: a diverged layer has to show in the loss."""
    x = np.ones((1, 2, 1, 17), np.float32)
    x[0, 0, 0, [3, 16]] = np.nan
    ones, zeros = np.ones(2, np.float32), np.zeros(2, np.float32)
    inputs = [x, ones, zeros, zeros, ones, np.float32([1e-5])]
    operator = f"norm_act_infer_forward_{activation}"
    y, pooled = compiled.run_guarded(operator, inputs, [x.shape, (1, 2, 1, 1)])
    assert np.array_equal(np.isnan(y), np.isnan(x))
    assert np.isnan(pooled).ravel().tolist() == [True, False]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="a choice of vector widths is x86's")
@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3", "x86-64-v4"])
def test_results_are_exact_on_a_cpu_with_other_vectors(cpu: str, tmp_path: Path) -> None:
    # What a wheel brings as it brings it; the oldest CPU's only has to be right.
    flags = [flag.replace("-O3", "-O3" if "v" in cpu else "-O1") for flag in flags_for(cpu)]
    # What this CPU lacks would end the process.
    needs = next((level.needs for level in LEVELS if level.name == cpu), frozenset())
    if not needs <= set(Path("/proc/cpuinfo").read_text().split()):
        pytest.skip(f"this CPU is no {cpu}")
    build.compile_library(build.find_compiler(), tuple(flags), tmp_path / "narrow.so")
    narrow = Compiled(tmp_path / "narrow.so")
    for group in cases.GROUPS:
        expect_all(narrow, group)


def digest(library: Path, threads: int) -> str:
    """Of all outputs of all cases, computed in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", cases.__name__, str(library)],
        env={
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            # Threads that wait by spinning are slow where others compute too.
            "OMP_WAIT_POLICY": "PASSIVE",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    return done.stdout


def test_results_are_the_same_bits_with_any_number_of_threads_and_every_time(real: Path) -> None:
    one = digest(real, 1)
    assert len(one.strip()) == hashlib.sha256().digest_size * 2
    assert [digest(real, threads) for threads in (1, 2, 3)] == [one] * 3


@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize(
    "operator",
    [
        "mixconv_weight_gradient_same",
        "mixconv_weight_gradient_symmetric",
        "norm_act_infer_forward_relu",
        "norm_act_train_backward_swish",
        "norm_act_train_forward_none",
        "scale_backward",
        "scale_forward",
        "stem_forward",
        "stem_weight_gradient",
    ],
)
def test_a_wrong_number_of_parameters_is_refused_before_any_is_read(
    compiled: Compiled, operator: str, more: int
) -> None:
    case = next(
        c for cases_of in cases.GROUPS.values() for c in cases_of() if c.operator == operator
    )
    arrays = [*case.inputs, *(np.full(shape, np.nan, np.float32) for shape in case.shapes)]
    assert compiled.status(operator, arrays) == 0
    wrong = [*arrays, arrays[-1]] if more > 0 else arrays[:-1]
    assert compiled.status(operator, wrong) != 0


@pytest.mark.parametrize("operator", ["forward", "input_gradient", "weight_gradient"])
@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_a_mixed_convolution_without_weights_is_refused(
    compiled: Compiled, operator: str, padding: str
) -> None:
    tensor = np.zeros((1, 1, 1, 1), np.float32)
    arrays = [tensor] * (2 if operator == "forward" else 3)
    assert compiled.status(f"mixconv_{operator}_{padding}", arrays) != 0
