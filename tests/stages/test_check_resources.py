from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mixnet_core.host.limits import Room
from mixnet_core.host.npu_smi import Chip
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages import check_resources
from mixnet_core.stages.check_resources import (
    check_cores,
    check_files,
    check_locks,
    check_memory,
    check_processes,
    check_python,
    check_room,
    check_shared_memory,
)
from tests.stages.checking import failure

GB = 1_000_000_000


@contextmanager
def open_files(most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_this_python_is_taken_and_one_that_packages_have_none_for_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert check_python().ok
    monkeypatch.setattr(check_resources.sys, "version_info", (3, 13, 0))
    assert "use Python 3.11 to 3.12" in str(failure(check_python()))


def test_a_workspace_is_made_and_tried(tmp_path: Path) -> None:
    result = check_locks(Workspace(tmp_path / "new"))
    assert (result.ok, result.note) == (True, "")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_workspace_that_cannot_be_made_or_lock_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    assert "cannot write" in str(failure(check_locks(Workspace(tmp_path / "file"))))
    monkeypatch.setattr(check_resources, "try_locks", lambda folder: {"lock": "No locks available"})
    message = str(failure(check_locks(Workspace(tmp_path))))
    assert "lock: No locks available" in message
    assert "mount it with locks" in message


def test_each_place_that_is_short_of_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"workspace": 50 * GB, "temporary files": 50 * GB, "cache": 50 * GB}

    class Usage:
        def __init__(self, path: Path) -> None:
            self.free = free["cache" if "cache" in str(path) else "workspace"]

    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setattr(check_resources.shutil, "disk_usage", Usage)
    environment = {"MIXNET_CACHE": str(cache / "not" / "there")}
    assert check_room(Workspace(tmp_path), environment).note == ""
    free["cache"] = GB // 2
    assert check_room(Workspace(tmp_path), environment).note == "warning"
    free["cache"] = GB // 10
    message = str(failure(check_room(Workspace(tmp_path), environment)))
    assert "too little for the cache;" in message
    assert f"0.1 GB for the cache at {cache}," in f"{message},".replace(":", ",")


def test_a_machine_without_a_folder_for_temporary_files_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in [...]")

    monkeypatch.setattr(check_resources.tempfile, "gettempdir", none)  # type: ignore[attr-defined]
    error = failure(check_room(Workspace(tmp_path)))
    assert str(error).startswith("no folder takes temporary files ($TMPDIR, /tmp and /var/tmp")


def _room_for(user: int, cache: str) -> None:
    os.setgid(user)
    os.setuid(user)
    raise SystemExit(cache in check_room(Workspace(Path("/")), {"MIXNET_CACHE": cache}).detail)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_cache_in_another_users_home_ends_no_check(tmp_path: Path) -> None:
    closed = tmp_path / "home"
    closed.mkdir(0o700)
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=_room_for, args=(65534, str(closed / "cache" / "mixnet")))
    process.start()
    process.join()
    # What was found is of the nearest folder that it may look into.
    assert process.exitcode == 0


def test_a_containers_little_shared_memory_is_said(tmp_path: Path) -> None:
    assert check_shared_memory(1).name == "shm"
    assert check_shared_memory(1, folder=tmp_path / "none").note == "unknown"
    tight = check_shared_memory(10**9, folder=tmp_path)
    assert tight.note == "warning"
    assert "--shm-size=8g" in tight.fix


@pytest.mark.parametrize(("left", "note"), [(2.1, ""), (1.9, "warning"), (0.9, "FAIL")])
def test_memory_is_compared_with_what_the_ranks_take_at_least(
    monkeypatch: pytest.MonkeyPatch, left: float, note: str
) -> None:
    ranks = 2
    room = Room(100 * GB, int(left * ranks * check_resources.RANK_BYTES), "its control group (g)")
    monkeypatch.setattr(check_resources, "memory_room", lambda: room)
    result = check_memory(ranks)
    assert (result.note if result.ok else "FAIL") == note
    if note == "FAIL":
        assert "2 ranks take 2.3 GB" in str(failure(result))


@pytest.mark.parametrize(("most", "note"), [(1024, ""), (512, "warning"), (51, "FAIL")])
def test_open_files_are_counted_against_the_usual_default(most: int, note: str) -> None:
    with open_files(most):
        result = check_files()
    assert (result.note if result.ok else "FAIL") == note
    assert str(most) in result.detail
    if note:
        assert "ulimit -n" in result.fix


@pytest.mark.parametrize(("left", "note"), [(10, ""), (9, "warning"), (0.9, "FAIL")])
def test_processes_are_counted_where_there_is_a_limit(
    monkeypatch: pytest.MonkeyPatch, left: float, note: str
) -> None:
    monkeypatch.setattr(check_resources, "process_room", lambda: Room(None, None, "no limit"))
    assert check_processes(8).note == ""
    room = Room(10_000, int(left * 8 * check_resources.RANK_THREADS), "ulimit -u")
    monkeypatch.setattr(check_resources, "process_room", lambda: room)
    result = check_processes(8)
    assert (result.note if result.ok else "FAIL") == note
    assert f"{room.left} processes and threads more of 10000" in result.detail


def test_devices_on_nodes_that_the_process_may_not_use_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = {"0000:c1:00.0": 0, "0000:c2:00.0": 1}
    monkeypatch.setattr(check_resources, "node_of_device", nodes.get)
    near = Chip(0, 0, "910B", "OK", bus="0000:c1:00.0")
    far = Chip(1, 0, "910B", "OK", bus="0000:c2:00.0")
    unknown = Chip(2, 0, "910B", "OK", bus=None)
    assert check_cores(1, [near, unknown]).note == ""
    result = check_cores(1, [near, far, unknown])
    assert result.note == "warning"
    assert "devices on other nodes: 1 (node 1)" in result.detail


def test_more_ranks_than_cores_is_a_warning() -> None:
    result = check_cores(10_000, [])
    assert (result.ok, result.note) == (True, "warning")
    assert f"{len(os.sched_getaffinity(0))} of " in result.detail
