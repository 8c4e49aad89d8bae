"""What only folders can lack: hard links, room, permission."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mixnet_core.errors import MachineError
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.schemes.file import FileStorage

LINKLESS = "it has no hard links: that nobody else publishes here is taken on trust"


@pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def linkless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As FAT, many network file systems and some of FUSE."""

    def link(source: object, target: Path) -> None:
        number = errno.EEXIST if Path(target).exists() else request.param
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("linkless")
def test_a_folder_without_hard_links_is_found_by_a_check(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "releases"))
    said = []
    for verb in (storage.check_writable, lambda: storage.create("x/manifest.json", b"{}")):
        with pytest.raises(MachineError, match=r"no hard links.*--single-writer") as caught:
            verb()
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("linkless")
def test_a_single_writer_does_without_hard_links(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path), single_writer=True)
    assert storage.check_writable() == [LINKLESS]
    assert storage.create("x/manifest.json", b"{}")
    assert not storage.create("x/manifest.json", b"other")
    assert storage.read("x/manifest.json") == b"{}"
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["manifest.json"]


def test_folders_that_are_links_are_listed_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "manifest.json").write_text("{}")
    root = tmp_path / "r"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "circle").symlink_to(root)
    (root / "digits").mkdir()
    (root / "digits" / "file").write_text("abc")
    (root / "a").symlink_to(root / "digits")
    (root / "digits" / "back").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "there").symlink_to(root / "digits")
    (root / "broken").symlink_to(tmp_path / "gone")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "file").touch()
    listed = open_storage(root.as_uri()).listed()
    assert {(item.key, item.bytes) for item in listed} >= {
        ("linked/manifest.json", 2),
        ("digits/file", 3),
        ("a/file", 3),
    }
    assert len(listed) < 20


def test_a_check_leaves_no_folder_that_it_made(tmp_path: Path) -> None:
    open_storage(str(tmp_path / "a" / "b")).check_writable()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    open_storage(str(tmp_path / "a" / "b")).check_writable()
    assert list((tmp_path / "a").iterdir()) == []


def test_what_a_killed_check_left_is_removed_by_the_next(tmp_path: Path) -> None:
    program = KILLED.replace('.create("r/manifest.json", b"{}")', ".check_writable()")
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert list(tmp_path.iterdir()) != []
    assert FileStorage(tmp_path).names() == []
    FileStorage(tmp_path).check_writable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "free space"), (errno.EROFS, "read-only"), (errno.EDQUOT, "quota")],
)
def test_a_disk_that_takes_nothing_is_found_by_a_check(
    number: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    storage = open_storage(str(tmp_path))
    with pytest.raises(MachineError, match=f"cannot write {tmp_path}.*{remedy}"):
        storage.check_writable()
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from mixnet_core.storage.schemes.file import FileStorage

os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
FileStorage(Path(sys.argv[1])).create("r/manifest.json", b"{}")
"""


def test_what_a_killed_publishing_left_is_removed_by_the_next(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert [path.name[:7] for path in (tmp_path / "r").iterdir()] == [".aside-"]
    storage = FileStorage(tmp_path)
    assert storage.names("r") == []
    assert storage.create("r/manifest.json", b"{}")
    assert not storage.create("r/manifest.json", b"other")
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["manifest.json"]


def test_a_folder_that_others_make_and_remove_meanwhile_is_listed_or_not_there(
    tmp_path: Path,
) -> None:
    storage, folder = open_storage(tmp_path.as_uri()), tmp_path / "aliases"
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            folder.mkdir()
            folder.rmdir()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert all(storage.names("aliases") == [] for _ in range(5000))
    finally:
        ended.set()
        thread.join()
