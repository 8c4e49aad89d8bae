from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.release.catalog import USER_CATALOG, _say_retired
from mixnet_core.storage.user_cache import VARIABLE
from tests.web_server import CONTENT


@pytest.fixture(autouse=True)
def plain_environment(plain_network: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No catalog of the user's either."""
    monkeypatch.delenv(USER_CATALOG, raising=False)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "user-cache"))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file to publish."""
    path = tmp_path / "weights.ckpt"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(autouse=True)
def nothing_said_yet() -> None:
    """What is said once in a process is said in each test."""
    _say_retired.cache_clear()
