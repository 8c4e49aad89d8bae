"""Which operators a recipe's devices get on this machine, and what the user is told."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixnet_core.errors import MachineError
from mixnet_core.model.native.choice import Operators
from mixnet_core.model.native.choice import choose_operators as choose
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.recipe.sections import Devices
from tests.model.native.compilers import Compiler


def choose_operators(devices: Devices) -> Operators:
    return choose(devices.operators, target=devices.target)


def devices(**settings: str) -> Devices:
    return load_recipe("digits", {f"devices.{k}": v for k, v in settings.items()}).devices


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def expect_plain_with_one_warning(caplog: pytest.LogCaptureFixture, reason: str) -> None:
    """Of auto, however often it is asked; native is refused for the same reason."""
    assert [choose_operators(devices(operators="auto")) for _ in range(2)] == ["plain"] * 2
    (warning,) = warnings(caplog)
    assert warning.startswith("training and evaluating with MindSpore's own CPU operators")
    assert reason in warning
    with pytest.raises(MachineError) as raised:
        choose_operators(devices(operators="native"))
    assert reason in str(raised.value)


@pytest.mark.parametrize("operators", ["auto", "native"])
def test_a_cpu_with_a_compiler_gets_native_operators_compiled_once(
    compiler: Compiler, caplog: pytest.LogCaptureFixture, operators: str
) -> None:
    asked = devices(operators=operators)
    assert [choose_operators(asked) for _ in range(2)] == ["native"] * 2
    assert compiler.calls == 1
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    "settings",
    [{"operators": "plain"}]
    + [{"target": "Ascend", "operators": o} for o in ("auto", "native", "plain")],
)
def test_nothing_is_compiled_for_plain_operators_or_another_device(
    compiler: Compiler, cache: Path, settings: dict[str, str]
) -> None:
    assert choose_operators(devices(**settings)) == "plain"
    assert compiler.calls == 0
    assert not cache.parent.exists()


def test_without_a_compiler_auto_is_plain_and_says_so_once(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    expect_plain_with_one_warning(caplog, "install one (Debian: apt install g++)")


def test_a_compiler_that_fails_makes_auto_plain(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = Compiler(tmp_path / "compiler", "echo 'fatal error: no omp.h' >&2; exit 1")
    monkeypatch.setenv("CXX", str(failing.command))
    expect_plain_with_one_warning(caplog, "fatal error: no omp.h")


@pytest.mark.parametrize("folder", ["file/below", "/proc/mixnet"])
def test_a_cache_that_cannot_be_written_makes_auto_plain(
    compiler: Compiler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    folder: str,
) -> None:
    (tmp_path / "file").touch()
    # Root may write anywhere else.
    monkeypatch.setenv("MIXNET_CACHE", str(tmp_path / folder))
    expect_plain_with_one_warning(caplog, f"cannot write {tmp_path / folder}/native: ")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of 16 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a file system needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_makes_auto_plain_and_is_left_as_it_was(
    compiler: Compiler,
    full_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MIXNET_CACHE", str(full_disk))
    expect_plain_with_one_warning(caplog, "No space left on device")
    assert list((full_disk / "native").iterdir()) == []
