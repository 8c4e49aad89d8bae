"""What a machine remembers of an upload, while and after a process is at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.storage.s3.begun import begun_here


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIXNET_CACHE", str(tmp_path))
    return tmp_path / "uploads"


def test_what_did_not_end_is_remembered_until_it_is_forgotten(cache: Path) -> None:
    with begun_here("host/bucket/key") as begun:
        assert begun.upload == ""
        begun.note("a long id")
        begun.note("id")
    with begun_here("host/bucket/key") as begun:
        assert begun.upload == "id"
    with begun_here("host/bucket/other") as begun:
        assert begun.upload == ""
    with begun_here("host/bucket/key") as begun:
        begun.forget()
    with begun_here("host/bucket/key") as begun:
        assert begun.upload == ""
        begun.forget()


def test_what_another_is_at_is_not_told(cache: Path) -> None:
    with begun_here("host/bucket/key") as first:
        first.note("id")
        with begun_here("host/bucket/key") as second:
            assert second.upload == ""
            second.note("its own")
            second.forget()
    with begun_here("host/bucket/key") as begun:
        assert begun.upload == "id"


def test_without_a_cache_nothing_is_remembered_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MIXNET_CACHE", str(tmp_path / "file"))
    with begun_here("host/bucket/key") as begun:
        begun.note("id")
        assert begun.upload == ""
        begun.forget()
