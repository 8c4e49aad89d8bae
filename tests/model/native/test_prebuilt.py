"""The operators that a wheel brings: taken where there is no compiler, and only if they fit."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mixnet_core.errors import MachineError
from mixnet_core.model.native import build, levels
from mixnet_core.model.native import prebuilt as module
from mixnet_core.model.native.prebuilt import prebuilt
from mixnet_core.storage.files import sha256_of
from tests.model.native.conftest import forget
from tests.model.native.test_build import expect_working

pytestmark = pytest.mark.skipif(
    platform.machine() not in {level.machine for level in levels.LEVELS},
    reason="a wheel has operators for other machines",
)

HERE = [level for level in levels.LEVELS if level.machine == platform.machine()]


@pytest.fixture
def sources(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As in an installed wheel; every level's library is this machine's. No compiler is on PATH."""
    folder = tmp_path / "sources"
    shutil.copytree(build.SOURCES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / levels.FOLDER).mkdir()
    for level in HERE:
        shutil.copyfile(real, folder / levels.FOLDER / f"{level.name}.so")
    write_record(folder)
    monkeypatch.setattr(build, "SOURCES", folder)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return folder


def write_record(folder: Path) -> None:
    libraries = (folder / levels.FOLDER).glob("*.so")
    record = {
        "sources": levels.digest_of_sources(folder),
        "libraries": {path.name: sha256_of(path) for path in libraries},
    }
    (folder / levels.FOLDER / levels.RECORD).write_text(json.dumps(record))


def test_without_a_compiler_they_are_tried_once_and_kept(cache: Path, sources: Path) -> None:
    path = build.library()
    assert path.parent == cache
    expect_working(path)
    kept = path.stat().st_ino
    forget()
    assert build.library() == path
    assert path.stat().st_ino == kept


def test_with_a_compiler_they_are_compiled_for_this_very_cpu(
    cache: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("MIXNET_CACHE", str(cache.parent))
    assert prebuilt(sources) is not None
    path = build.library()
    assert path.name.removesuffix(".so") != build._copied(*found(sources)).name.removesuffix(".so")


def found(sources: Path) -> tuple[Path, str]:
    ready = prebuilt(sources)
    assert ready is not None
    return ready


def test_the_best_level_that_the_cpu_has_is_taken(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for level in HERE:
        monkeypatch.setattr(module, "_words_of_cpu", lambda level=level: set(level.needs) | {"x"})
        assert found(sources)[0].stem == level.name
    monkeypatch.setattr(module, "_words_of_cpu", lambda: {"sse2"})
    assert prebuilt(sources) is None


def changed_source(folder: Path) -> None:
    (folder / "scale.cpp").write_text("// changed\n" + (folder / "scale.cpp").read_text())


def damaged(folder: Path) -> None:
    for path in (folder / levels.FOLDER).glob("*.so"):
        path.write_bytes(path.read_bytes()[:-3])


def no_record(folder: Path) -> None:
    (folder / levels.FOLDER / levels.RECORD).unlink()


def odd_record(folder: Path) -> None:
    (folder / levels.FOLDER / levels.RECORD).write_text("[1]")


@pytest.mark.parametrize("harm", [changed_source, damaged, no_record, odd_record])
def test_those_of_other_sources_and_damaged_ones_are_none(
    cache: Path, sources: Path, harm: Callable[[Path], None]
) -> None:
    harm(sources)
    with pytest.raises(MachineError, match="no C\\+\\+ compiler on PATH"):
        build.library()


def test_one_that_does_not_run_here_is_refused_and_not_kept(cache: Path, sources: Path) -> None:
    for path in (sources / levels.FOLDER).glob("*.so"):
        path.write_bytes(b"of another system")
    write_record(sources)
    with pytest.raises(MachineError, match=r"as the wheel has them for .* do not run on this CPU"):
        build.library()
    assert list(cache.iterdir()) == []


def test_who_names_a_compiler_gets_no_other(
    cache: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/no/compiler")
    with pytest.raises(MachineError, match="CXX=/no/compiler is not there"):
        build.library()
