from __future__ import annotations

import contextvars
import errno
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mixnet_core.errors import InputError, IntegrityError, MachineError
from mixnet_core.storage.files import (
    ASIDE_PREFIX,
    call_between_pieces,
    expect_writable,
    file_aside,
    fingerprint,
    folder_aside,
    os_errors_explained,
    read_json,
    sha256_of,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_only_when_the_block_is_done(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file.txt"
    with file_aside(target) as aside:
        aside.write_text("whole")
        assert not target.exists()
        assert aside.parent.parent == target.parent
        assert aside.parent.name.startswith(ASIDE_PREFIX)
    assert target.read_text() == "whole"
    assert names(target.parent) == ["file.txt"]


def test_a_file_can_be_read_by_others_and_deleted_by_its_owner(tmp_path: Path) -> None:
    write_text(tmp_path / "file.txt", "text")
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o644


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fail() -> None:
        with file_aside(target) as aside:
            aside.write_text("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("name", ["file_aside", "folder_aside"])
def test_a_killed_writer_leaves_the_old_content_and_an_aside(name: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    if name == "file_aside":
        target.write_text("old")
    else:
        target.mkdir()
        (target / "old").touch()
    program = f"""
import os, signal
from pathlib import Path
from mixnet_core.storage.files import {name}
with {name}(Path({str(target)!r})) as aside:
    (aside / "half" if aside.is_dir() else aside).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert target.read_text() == "old" if name == "file_aside" else names(target) == ["old"]
    aside, kept = names(tmp_path)
    assert (aside.startswith(ASIDE_PREFIX), kept) == (True, "target")


def test_a_folder_replaces_another_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with folder_aside(target) as aside:
        (aside / "first").touch()
    with folder_aside(target) as aside:
        (aside / "second").touch()
        assert names(target) == ["first"]
    assert names(target) == ["second"]
    assert names(tmp_path) == ["target"]
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_folder_whose_block_fails_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with folder_aside(target) as aside:
        (aside / "first").touch()

    def fail() -> None:
        with folder_aside(target) as aside:
            (aside / "second").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(target) == ["first"]
    assert names(tmp_path) == ["target"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fill_the_disk() -> None:
        with file_aside(target) as aside:
            aside.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(MachineError) as raised:
        fill_the_disk()
    assert str(raised.value) == (
        f"cannot write {target}: No space left on device; free space or choose another folder"
    )
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("below", ["file/x.txt", "file/folder/x.txt"])
def test_a_path_through_a_file_is_explained_in_one_line(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError) as raised:
        write_text(tmp_path / below, "text")
    assert str(raised.value).startswith(f"cannot write {tmp_path / below}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "Permission denied; fix its permissions or choose another folder"),
        (errno.EROFS, "Read-only file system; the file system is read-only: choose another folder"),
        (errno.EIO, "Input/output error; check the path and try again"),
    ],
)
def test_the_remedy_fits_the_cause(number: int, remedy: str) -> None:
    with (
        pytest.raises(MachineError, match=f"^cannot read /a/b: {remedy}$"),
        os_errors_explained(Path("/a/b"), "read"),
    ):
        raise OSError(number, os.strerror(number))


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(IntegrityError, match=r"^damaged$"), os_errors_explained(Path("/a/b")):
        raise IntegrityError("damaged")


def test_equal_data_is_equal_bytes_and_reads_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None], "a": "ü"})
    write_json(tmp_path / "b.json", {"a": "ü", "b": [1, 2.5, None]})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert "ü" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"b": [1, 2.5, None], "a": "ü"}


def test_json_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(InputError, match=r"^no file at .*/a\.json: check the path$"):
        read_json(path)
    for content in (b'{"a": ', b"\xff\xfe\x00", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match=r"a\.json is not valid JSON \(.*\): delete it"):
            read_json(path)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_the_digest_is_that_of_the_whole_file(size: int, tmp_path: Path) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "file").write_bytes(content[:size])
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content[:size]).hexdigest()


def test_between_the_pieces_of_a_long_file_a_job_may_give_signs_of_life(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with file.open("wb") as sparse:
        sparse.truncate(8 << 20)
    done: list[int] = []

    def read() -> None:
        call_between_pieces(lambda: done.append(1))
        sha256_of(file)

    contextvars.copy_context().run(read)
    assert len(done) >= 8
    # Another thread's reading says nothing of the one that is to give signs.
    with ThreadPoolExecutor(1) as pool:
        contextvars.copy_context().run(
            lambda: (call_between_pieces(done.clear), pool.submit(sha256_of, file).result())
        )
    assert len(done) >= 8


def test_a_fingerprint_depends_on_values_not_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1, "b": [1, 2]}) != fingerprint({"a": 1, "b": [2, 1]})
    # Written down, so that records of earlier versions stay valid.
    assert fingerprint({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder"
    with folder_aside(target) as aside:
        (aside / "old").touch()
    rename = Path.rename

    def refusing(path: Path, to: Path) -> Path:
        if Path(to) == target and (path / "new").exists():
            raise OSError(28, "No space left on device")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(MachineError), folder_aside(target) as aside:
        (aside / "new").touch()
    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("when", ["asked", "just after"])
def test_what_another_process_put_there_meanwhile_stays_where_that_is_wanted(
    tmp_path: Path, when: str
) -> None:
    target = tmp_path / "folder"
    asked: list[bool] = []

    def another_was_first() -> bool:
        asked.append(target.exists() or when == "asked")
        if len(asked) == 1:
            target.mkdir()
            (target / "theirs").touch()
        return asked[-1]

    with folder_aside(target, unless=another_was_first) as aside:
        (aside / "ours").touch()
    assert names(target) == ["theirs"]
    assert names(tmp_path) == ["folder"]
    assert asked == ([True] if when == "asked" else [False, True])


def test_whether_a_file_can_be_written_is_tried_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("old")
    for target in (tmp_path / "old.csv", tmp_path / "new.csv", tmp_path / "a" / "b" / "new.csv"):
        expect_writable(target)
    assert [path.name for path in tmp_path.rglob("*")] == ["old.csv"]
    assert (tmp_path / "old.csv").read_text() == "old"
    with pytest.raises(InputError, match="is a folder, expected a file to write"):
        expect_writable(tmp_path)
    for target in (tmp_path / "old.csv" / "x.csv", tmp_path / "n" / ("x" * 300)):
        with pytest.raises(MachineError, match=f"cannot write {target}"):
            expect_writable(target)
    with pytest.raises(MachineError, match=r"cannot write /proc/x\.csv"):
        expect_writable(Path("/proc/x.csv"))
    assert [path.name for path in tmp_path.rglob("*")] == ["old.csv"]
