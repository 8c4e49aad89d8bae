from __future__ import annotations

import os
import resource
from pathlib import Path

import psutil
import pytest

from mixnet_core.host import limits
from mixnet_core.host.limits import file_room, memory_room, process_room

GB = 1 << 30


def groups(folder: Path, lines: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A process's groups and the files of theirs, as a kernel shows them."""
    mounted = folder / "cgroup"
    for name, text in files.items():
        (mounted / name).parent.mkdir(parents=True, exist_ok=True)
        (mounted / name).write_text(text)
    (folder / "groups").write_text(lines)
    return folder / "groups", mounted


def test_without_control_groups_the_machine_is_the_limit(tmp_path: Path) -> None:
    room = memory_room(tmp_path / "none", tmp_path)
    assert (room.limit, room.source) == (psutil.virtual_memory().total, "the machine")
    assert room.left is not None
    assert 0 < room.left < psutil.virtual_memory().total


@pytest.mark.parametrize("above", [True, False])
def test_a_containers_limit_counts_wherever_above_the_process_it_is(
    tmp_path: Path, above: bool
) -> None:
    tight, wide = ("pods", "pods/one") if above else ("pods/one", "pods")
    files = {
        f"{tight}/memory.max": f"{GB}\n",
        f"{tight}/memory.current": f"{GB // 2}\n",
        f"{tight}/memory.stat": f"anon 5\ninactive_file {GB // 4}\n",
        f"{wide}/memory.max": "max\n",
        f"{wide}/memory.current": f"{GB // 2}\n",
    }
    room = memory_room(*groups(tmp_path, "0::/pods/one\n", files))
    # Pages of files that nobody used lately are given up.
    assert (room.limit, room.left) == (GB, GB // 4 * 3)
    assert tight in room.source


def test_control_groups_of_version_1_count_too(tmp_path: Path) -> None:
    files = {
        "memory/one/memory.limit_in_bytes": f"{GB}\n",
        "memory/one/memory.usage_in_bytes": f"{GB}\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "pids/one/pids.max": "100\n",
        "pids/one/pids.current": "40\n",
    }
    place = groups(tmp_path, "8:pids:/one\n4:memory:/one\n0::/\n", files)
    assert (memory_room(*place).limit, memory_room(*place).left) == (GB, 0)
    room = process_room(*place)
    assert (room.limit, room.left) == (100, 60)


def test_a_group_that_is_looser_than_the_machine_limits_nothing(tmp_path: Path) -> None:
    files = {"memory.max": f"{1 << 50}\n", "memory.current": "1\n", "pids.max": "max\n"}
    place = groups(tmp_path, "0::/\nnonsense\n", files)
    assert memory_room(*place).source == "the machine"


def test_a_users_own_limit_of_processes_counts_its_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits.resource, "getrlimit", lambda which: (100_000, 100_000))
    monkeypatch.setattr(limits.os, "getuid", lambda: 0)
    assert process_room(tmp_path / "none", tmp_path).limit is None
    monkeypatch.setattr(limits.os, "getuid", lambda: 12345)
    assert process_room(tmp_path / "none", tmp_path).left == 100_000
    monkeypatch.undo()
    monkeypatch.setattr(limits.resource, "getrlimit", lambda which: (100_000, 100_000))
    own = os.getuid()
    counted = 100_000 - limits._threads_of(own)
    assert counted < 100_000


def test_open_files_are_this_processs_own_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        assert file_room() == (soft - 1, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
