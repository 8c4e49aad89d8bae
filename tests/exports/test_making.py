"""Formats made one by one, and what becomes of their files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import IntegrityError
from mixnet_core.exports import making
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.making import PROOFS, Wanted, make_exports
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.export_values import ExportedFile, ExportProof
from mixnet_core.storage.files import sha256_of

ITEM = Exportable(
    name="mine",
    recipe=load_recipe("digits"),
    weights="/w.ckpt",
    sha256="0" * 64,
    classes=None,
    width=10,
)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Any:
    """A folder on another disk than tmp_path."""
    folder = Path("/dev/shm", f"mixnet-{os.getpid()}")
    if not folder.parent.is_dir() or folder.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def job(module: str, request: Any, damage: bytes, **_: Any) -> dict[str, Any]:
    """Writes a file and proves it; what is on the disk later may be damaged."""
    target = Path(request.folder, "model.onnx")
    target.write_bytes(b"network")
    file = ExportedFile(name=target.name, sha256=sha256_of(target), bytes=7)
    target.write_bytes(damage)
    target.chmod(0o600)
    proof = ExportProof(format="onnx", state="unproven", reason="", files={"onnx": file})
    return {"proof": proof.model_dump(mode="json")}


def made(folder: Path, tmp_path: Path) -> None:
    make_exports(
        ITEM,
        Wanted(("onnx",), 1.0, 16),
        folder,
        images=None,
        attempts=tmp_path / "attempts",
        watch=lambda tick: None,
    )


def test_files_go_to_another_disk_too(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "run_job", lambda *a, **k: job(*a, damage=b"network", **k))
    made(elsewhere, tmp_path)
    assert (elsewhere / "model.onnx").read_bytes() == b"network"
    assert (elsewhere / "model.onnx").stat().st_mode & 0o777 == 0o644
    assert (elsewhere / PROOFS).is_file()


def test_what_arrives_is_what_was_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "run_job", lambda *a, **k: job(*a, damage=b"netwerk", **k))
    (tmp_path / "out").mkdir()
    with pytest.raises(IntegrityError, match="is not what was proven"):
        made(tmp_path / "out", tmp_path)
