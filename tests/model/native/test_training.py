"""Training on native operators is the same bits every time, and the same on every rank."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.processes.launch import run_job
from mixnet_core.storage.files import read_json
from tests.processes.programs.native_steps import STEPS, Job, Outcome

ROOT = Path(__file__).parents[3]

Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(ranks: int, threads: int = 0) -> Outcome:
        result = run_job(
            "tests.processes.programs.native_steps",
            Job(folder=str(tmp_path), ranks=ranks),
            attempts=tmp_path / "attempts",
            ranks=ranks,
            threads=threads,
        )
        return Outcome.model_validate(result)

    return run


@pytest.mark.slow
def test_the_same_steps_in_another_process_give_the_same_bits(run: Run) -> None:
    first = run(ranks=1, threads=2)
    assert np.isfinite(first.losses).all()
    assert len(set(first.losses)) == STEPS
    assert first.threads == "2"
    assert run(ranks=1, threads=2) == first


@pytest.mark.slow
def test_two_ranks_keep_equal_weights_and_share_the_cores(run: Run, tmp_path: Path) -> None:
    run(ranks=2)
    one, other = (Outcome.model_validate(read_json(tmp_path / f"rank-{r}.json")) for r in (0, 1))
    # Each saw other images, and BatchNorm's statistics are of those.
    assert one.statistics != other.statistics
    assert one.losses != other.losses
    assert one.weights == other.weights
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert (one.threads, other.threads) == (share, share)
    if len(os.sched_getaffinity(0)) >= 2:
        assert not set(one.cores) & set(other.cores)
