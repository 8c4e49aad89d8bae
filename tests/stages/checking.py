"""What tests of the checks share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mixnet_core import errors
from mixnet_core.stages.check import require
from mixnet_core.stages.check_result import CheckResult


def failure(result: CheckResult) -> errors.MixnetError:
    """What `require` raises for a result, after looking at its form."""
    assert not result.ok
    with pytest.raises(errors.MixnetError) as caught:
        require([result])
    assert "\n" not in str(caught.value)
    assert type(caught.value).__name__ == result.error
    return caught.value


def with_versions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, versions: dict[str, str]
) -> None:
    """Python's path leads only to packages of these versions."""
    for name, version in versions.items():
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
