"""Digests of archives, taken while others read them."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from mixnet_core.data.imagenet import digests
from mixnet_core.data.imagenet.archives import Archive
from mixnet_core.data.imagenet.digests import ReadAlong, expect_md5, read_md5sums
from mixnet_core.errors import DigestMismatch, InputError

A, B = "0123456789abcdef" * 2, "f" * 32


def test_md5sums_are_read_as_md5sum_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "md5sums"
    path.write_text(f"{A}  a b.tar\n{B.upper()} */data/b.tar\n\n{A}  elsewhere/a b.tar\n")
    assert read_md5sums(path) == {"a b.tar": A, "b.tar": B}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a.tar\n", "line 1 of .* expected an md5"),
        (f"{A}  a.tar\n{A}a  b.tar\n", "line 2 of .* expected an md5"),
        (f"{A} a.tar\n", "line 1 of"),
        (f"{A}  a.tar\n{B}  a.tar\n", "line 2 of .* gives a.tar a second digest"),
    ],
)
def test_a_line_that_is_none_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "md5sums"
    path.write_text(text)
    with pytest.raises(InputError, match=fault):
        read_md5sums(path)
    with pytest.raises(InputError, match="no file at"):
        read_md5sums(tmp_path / "none")


def test_a_wrong_digest_is_a_mismatch_and_an_unknown_one_is_not() -> None:
    expect_md5(Path("a.tar"), A, A)
    expect_md5(Path("a.tar"), A, None)
    with pytest.raises(DigestMismatch, match=f"a.tar has md5 {A}, expected {B}"):
        expect_md5(Path("a.tar"), A, B)


def test_neither_side_gets_far_ahead_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_NEAR_BYTES", 1000)
    monkeypatch.setattr(digests, "_CHUNK_BYTES", 100)
    content = bytes(range(256)) * 40
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    with Archive(path) as archive, ReadAlong(archive) as along:
        for offset in range(0, len(content), 500):
            along.reading(offset)
            assert offset - 1000 <= along.hashed <= offset + 1000 + 100
        assert along.md5(10) == hashlib.md5(content).hexdigest()
        assert along.hashed == len(content)


def test_it_ends_with_the_work_that_it_goes_along_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_NEAR_BYTES", 10)
    monkeypatch.setattr(digests, "_CHUNK_BYTES", 10)
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(10_000))
    with pytest.raises(KeyboardInterrupt), Archive(path) as archive, ReadAlong(archive):
        raise KeyboardInterrupt
    assert not [thread for thread in threading.enumerate() if thread.name == "md5"]
