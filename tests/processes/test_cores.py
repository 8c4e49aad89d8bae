"""How many cores a process takes for its threads."""

from __future__ import annotations

import os
from pathlib import Path

from mixnet_core.processes.cores import usable_cores

CORES = len(os.sched_getaffinity(0))


def cores(tmp_path: Path, group: str, quotas: dict[str, str]) -> int:
    groups, mounted = tmp_path / "cgroup", tmp_path / "mounted"
    groups.write_text(f"1:name=systemd:/elsewhere\n0::{group}\n")
    for folder, quota in quotas.items():
        (mounted / folder).mkdir(parents=True, exist_ok=True)
        (mounted / folder / "cpu.max").write_text(quota + "\n")
    return usable_cores(groups=groups, mounted=mounted)


def test_without_a_quota_they_are_those_the_process_may_run_on(tmp_path: Path) -> None:
    assert cores(tmp_path, "/", {}) == CORES
    assert cores(tmp_path, "/pod", {"pod": "max 100000"}) == CORES
    assert usable_cores(groups=tmp_path / "absent", mounted=tmp_path) == CORES


def test_a_process_kept_to_one_core_has_one() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_containers_quota_counts_whole_cores_and_at_least_one(tmp_path: Path) -> None:
    assert cores(tmp_path, "/", {"": "100000 100000"}) == 1
    assert cores(tmp_path, "/", {"": "20000 100000"}) == 1
    assert cores(tmp_path, "/", {"": "150000 100000"}) == min(CORES, 2)
    assert cores(tmp_path, "/", {"": f"{(CORES + 6) * 100000} 100000"}) == CORES


def test_a_quota_of_a_group_above_counts_too(tmp_path: Path) -> None:
    quotas = {"pods": "90000 100000", "pods/mine": "max 100000"}
    assert cores(tmp_path, "/pods/mine", quotas) == 1


def test_a_file_that_is_no_quota_is_passed_over(tmp_path: Path) -> None:
    assert cores(tmp_path, "/", {"": "nonsense"}) == CORES
