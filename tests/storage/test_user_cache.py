from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.errors import MachineError
from mixnet_core.storage.user_cache import cache_folder


def test_the_variable_goes_before_xdg_and_xdg_before_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("MIXNET_CACHE", raising=False)
    assert cache_folder("native") == tmp_path / "home/.cache/mixnet/native"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("native") == tmp_path / "xdg/mixnet/native"
    monkeypatch.setenv("MIXNET_CACHE", str(tmp_path / "own"))
    assert cache_folder("native") == tmp_path / "own/native"
    assert (tmp_path / "own/native").is_dir()


def test_a_folder_that_cannot_be_made_is_said_with_the_variable_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MIXNET_CACHE", str(tmp_path / "file"))
    with pytest.raises(MachineError, match="MIXNET_CACHE"):
        cache_folder("native")
