from __future__ import annotations

import fcntl
import subprocess
import time
from pathlib import Path

import pytest

from mixnet_core.host.file_system import is_locked, mount_of, try_locks

MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /data rw,relatime shared:9 - nfs4 host:/data rw,vers=4.2,local_lock=none
31 30 0:41 / /data/old rw - nfs host:/old rw,vers=3,nolock,local_lock=all
32 22 0:42 / /with\040space rw - fuse.sshfs me:/ rw
33 22 0:43 / /data rw - tmpfs tmpfs rw
34 33 0:44 / /data/lustre rw,flock - lustre 10.0.0.1@tcp:/fs rw,localflock
a line that was cut
"""


def test_a_folder_is_on_the_last_mount_over_it(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    kinds = {
        place: mount.kind if (mount := mount_of(Path(place), mounts)) else None
        for place in ("/", "/database", "/data/x", "/data/old/run", "/with space/a")
    }
    assert kinds == {
        "/": "ext4",
        "/database": "ext4",
        "/data/x": "tmpfs",
        "/data/old/run": "nfs",
        "/with space/a": "fuse.sshfs",
    }
    assert mount_of(Path("/"), tmp_path / "none") is None
    here = mount_of(tmp_path)
    assert here is not None
    assert here.kind


def test_locks_that_other_hosts_do_not_see_are_known_by_the_mounts_options(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.replace("33 22 0:43 / /data rw - tmpfs tmpfs rw\n", ""))
    found = {
        place: mount_of(Path(place), mounts) for place in ("/data/x", "/data/old", "/data/lustre")
    }
    assert {place: mount and mount.locks_here_only for place, mount in found.items()} == {
        "/data/x": False,
        "/data/old": True,
        "/data/lustre": True,
    }
    assert all(mount and mount.networked for mount in found.values())


def test_a_local_disk_passes_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    assert try_locks(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    assert try_locks(tmp_path / "none") == {"make": "No such file or directory"}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("errno = ENOLCK; return -1;", {"lock": "No locks available"}),
        ("errno = ENOSYS; return -1;", {"lock": "Function not implemented"}),
        ("return 0;", {"lock": "two hold one lock at once"}),
        ("sleep(600); return 0;", {"answer": "no answer for 2 s"}),
    ],
)
def test_a_file_system_without_locks_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, found: dict[str, str]
) -> None:
    source, library = tmp_path / "flock.c", tmp_path / "flock.so"
    source.write_text(
        f"#include <errno.h>\n#include <unistd.h>\nint flock(int f, int how) {{ {body} }}\n"
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    began = time.monotonic()
    assert try_locks(tmp_path, seconds=2.0) == found
    assert time.monotonic() - began < 20


def test_a_lock_of_another_process_is_seen_and_one_that_is_gone_is_not(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with file.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert is_locked(file) is True
    assert is_locked(file) is False
    # What cannot be told is no "no".
    assert is_locked(tmp_path / "none") == "No such file or directory"
