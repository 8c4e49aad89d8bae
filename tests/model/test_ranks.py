"""Ranks that contradict what msrun started are refused before anything is written."""

from __future__ import annotations

import os

import pytest

from mixnet_core.errors import MachineError
from mixnet_core.model.ranks import _keep_to_own_cores, join_ranks

WORKER = {"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "2", "RANK_ID": "1"}


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        (WORKER, 1),
        (WORKER, 3),
        # Nobody started others.
        ({}, 2),
        ({"RANK_ID": "1"}, 1),
        ({"RANK_SIZE": "8"}, 1),
        ({"MS_ROLE": "MS_WORKER"}, 2),
    ],
)
def test_a_count_that_msrun_contradicts_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], count: int
) -> None:
    for name in ("MS_ROLE", "MS_WORKER_NUM", "RANK_ID", "RANK_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MachineError, match=f"the recipe says devices.ranks {count}"):
        join_ranks("CPU", count)


def test_a_rank_keeps_to_its_share_of_its_own_hosts_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[list[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: kept.append(cores))
    for rank in range(4):
        monkeypatch.setenv("RANK_ID", str(rank))
        # Ranks 0 and 1 are one host's, 2 and 3 another's.
        _keep_to_own_cores(2)
    assert kept == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2


@pytest.mark.parametrize("environment", [{}, {"RANK_ID": "0", "RANK_SIZE": "1"}])
def test_a_process_alone_is_rank_0(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ranks = join_ranks("CPU", 1)
    assert (ranks.rank, ranks.count) == (0, 1)
