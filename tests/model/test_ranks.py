"""Ranks that contradict what msrun started are refused before anything is written."""

from __future__ import annotations

import pytest

from mixnet_core.errors import MachineError
from mixnet_core.model.ranks import join_ranks

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


@pytest.mark.parametrize("environment", [{}, {"RANK_ID": "0", "RANK_SIZE": "1"}])
def test_a_process_alone_is_rank_0(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ranks = join_ranks("CPU", 1)
    assert (ranks.rank, ranks.count) == (0, 1)
