from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mixnet_core.model.native import build, choice
from tests.model.native.compilers import Compiler, that_copies


def forget() -> None:
    """As if this process had not asked for a library yet."""
    build.library.cache_clear()
    build._version.cache_clear()
    choice._native_if_possible.cache_clear()


@pytest.fixture(scope="session")
def real() -> Path:
    """The library of this machine, in the user's cache."""
    return build.library()


@pytest.fixture
def cache(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where libraries go instead: not there yet."""
    monkeypatch.setenv("MIXNET_CACHE", str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache" / "native"
    forget()


@pytest.fixture
def compiler(real: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    """Named in CXX; makes a copy of the real library."""
    made = that_copies(tmp_path / "compiler", real)
    monkeypatch.setenv("CXX", str(made.command))
    return made
