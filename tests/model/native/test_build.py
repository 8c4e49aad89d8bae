"""One library for these sources and this machine, whatever the cache holds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.errors import MachineError
from mixnet_core.model.native import build
from mixnet_core.storage.files import read_json, sha256_of
from tests.model.native.compiled import Compiled
from tests.model.native.compilers import Compiler, that_compiles, that_copies
from tests.model.native.conftest import forget

ROOT = Path(__file__).parents[3]


def rebuilt() -> Path:
    forget()
    return build.library()


def expect_working(path: Path) -> None:
    x = np.array([[[[1, 2, 3]]]], np.float32)
    gate = np.full((1, 1, 1, 1), 2, np.float32)
    (y,) = Compiled(path).run("scale_forward", [x, gate], [x.shape])
    assert y.ravel().tolist() == [2, 4, 6]


def test_a_library_is_built_once_and_found_again(compiler: Compiler, cache: Path) -> None:
    path = build.library()
    expect_working(path)
    assert read_json(path.with_suffix(".json")) == {"sha256": sha256_of(path)}
    built = path.stat().st_mtime_ns, path.stat().st_ino
    assert rebuilt() == path
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == built
    assert compiler.calls == 1
    assert len(list(cache.iterdir())) == 2


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".so", flip),
        (".so", truncate),
        (".so", Path.unlink),
        (".json", Path.unlink),
        (".json", truncate),
        (".json", lambda path: path.write_bytes(b"\xff{")),
        (".json", lambda path: path.write_text("{}")),
        (".json", lambda path: path.write_text("[1]")),
        (".json", lambda path: path.write_text('{"sha256": null}')),
    ],
    ids=[
        "a flipped bit",
        "a truncated library",
        "no library",
        "no record",
        "half a record",
        "a record that is no text",
        "an empty record",
        "a record of another kind",
        "a record without a digest",
    ],
)
def test_what_is_damaged_is_built_again(
    compiler: Compiler, real: Path, suffix: str, damage: Callable[[Path], None]
) -> None:
    path = build.library()
    path.chmod(0o644)
    target = path.with_suffix(suffix)
    intact = target.read_bytes()
    damage(target)
    assert rebuilt() == path
    assert compiler.calls == 2
    assert sha256_of(path) == sha256_of(real)
    assert target.read_bytes() == intact


def test_four_processes_may_build_at_once(real: Path, cache: Path, tmp_path: Path) -> None:
    slow = that_copies(tmp_path / "compiler", real, seconds=1.0)
    program = "from mixnet_core.model.native.build import library; print(library())"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "CXX": str(slow.command)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    printed = {process.communicate(timeout=300)[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    (line,) = printed
    path = Path(line.strip())
    expect_working(path)
    assert read_json(path.with_suffix(".json")) == {"sha256": sha256_of(path)}
    assert {p.name for p in cache.iterdir()} == {path.name, path.with_suffix(".json").name}
    # Otherwise they did not overlap, and nothing was tried.
    assert slow.calls > 1


def test_equal_inputs_give_equal_libraries(tmp_path: Path) -> None:
    flags = tuple("-O0" if flag == "-O3" else flag for flag in build.FLAGS)
    made = [tmp_path / "first.so", tmp_path / "second.so"]
    for path in made:
        build.compile_library(build.find_compiler(), flags, path)
    assert made[0].read_bytes() == made[1].read_bytes()


def change_flags(monkeypatch: pytest.MonkeyPatch, folder: Path, real: Path) -> None:
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-ffast-math"))


def change_a_header(monkeypatch: pytest.MonkeyPatch, folder: Path, real: Path) -> None:
    shutil.copytree(build.SOURCES, folder / "native")
    with (folder / "native" / "vectors.h").open("a") as file:
        file.write("// changed\n")
    monkeypatch.setattr(build, "SOURCES", folder / "native")


def change_a_source(monkeypatch: pytest.MonkeyPatch, folder: Path, real: Path) -> None:
    shutil.copytree(build.SOURCES, folder / "native")
    with (folder / "native" / "scale.cpp").open("a") as file:
        file.write("// changed\n")
    monkeypatch.setattr(build, "SOURCES", folder / "native")


def change_the_compilers_version(monkeypatch: pytest.MonkeyPatch, folder: Path, real: Path) -> None:
    that_copies(folder / "compiler", real, version="2.0")


def change_the_compilers_options(monkeypatch: pytest.MonkeyPatch, folder: Path, real: Path) -> None:
    monkeypatch.setenv("CXX", f"{os.environ['CXX']} -m32")


def change_the_cpu(monkeypatch: pytest.MonkeyPatch, folder: Path, real: Path) -> None:
    other = [line for line in build._cpu() if not line.startswith("model")]
    monkeypatch.setattr(build, "_cpu", lambda: other)


@pytest.mark.parametrize(
    "change",
    [
        change_flags,
        change_a_header,
        change_a_source,
        change_the_compilers_version,
        change_the_compilers_options,
        change_the_cpu,
    ],
    ids=lambda change: change.__name__,
)
def test_whatever_decides_on_the_result_makes_another_library(
    compiler: Compiler,
    real: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch, Path, Path], None],
) -> None:
    path = build.library()
    change(monkeypatch, tmp_path, real)
    assert rebuilt() != path
    assert compiler.calls == 2


def test_without_a_compiler_the_message_says_what_was_looked_for_and_how_to_install_it(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError) as raised:
        build.library()
    assert str(raised.value) == (
        "no C++ compiler on PATH (looked for g++, c++, clang++): install one "
        "(Debian: apt install g++)"
    )


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (
            "/no/compiler",
            "no C++ compiler: CXX=/no/compiler is not there; set CXX to one, or unset it",
        ),
        (
            "g++ '-O3",
            "CXX=g++ '-O3 cannot be read as a command (No closing quotation): "
            "set it to a C++ compiler",
        ),
    ],
)
def test_a_cxx_that_is_no_compiler_is_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch, named: str, message: str
) -> None:
    monkeypatch.setenv("CXX", named)
    with pytest.raises(MachineError) as raised:
        build.library()
    assert str(raised.value) == message


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_cxx_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    monkeypatch.delenv("CXX", raising=False)
    found = build.find_compiler()
    monkeypatch.setenv("CXX", blank)
    assert build.find_compiler() == found


def test_cxx_may_have_options(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = shutil.which("sh")
    monkeypatch.setenv("CXX", "sh '-a b' -c")
    assert build.find_compiler() == [shell, "-a b", "-c"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "echo 'x.cpp:1: warning: odd' >&2; echo 'x.cpp:2: error: no such thing' >&2; "
            "echo 'x.cpp:3: error: another' >&2; exit 1",
            "x.cpp:2: error: no such thing",
        ),
        ("echo 'Segmentation fault' >&2; exit 139", "Segmentation fault"),
        ("exit 5", "5"),
    ],
)
def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    failing = Compiler(tmp_path / "compiler", body)
    monkeypatch.setenv("CXX", str(failing.command))
    with pytest.raises(MachineError) as raised:
        build.library()
    assert str(raised.value) == (f"{failing.command} cannot compile the native operators: {reason}")
    assert list(cache.iterdir()) == []


def test_a_compiler_that_cannot_be_started_is_a_fault_of_the_machine(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "compiler"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    with pytest.raises(MachineError, match=rf"^cannot run {broken}: .*Exec format error"):
        build.library()


CRASHES = """
#include <cstdlib>
extern "C" int mixconv_forward_symmetric(int, void**, int*, long**, const char**, void*, void*) {
  abort();
}
"""
ANSWERS_WRONGLY = """
extern "C" int mixconv_forward_symmetric(int, void** a, int*, long**, const char**, void*, void*) {
  for (int i = 0; i < 3; ++i) static_cast<float*>(a[2])[i] = i;
  return 0;
}
"""
REFUSES = """
extern "C" int mixconv_forward_symmetric(int, void** a, int*, long**, const char**, void*, void*) {
  for (int i = 0; i < 3; ++i) static_cast<float*>(a[2])[i] = i + 1;
  return 7;
}
"""


@pytest.mark.parametrize(
    ("source", "ended"),
    [(CRASHES, "-6"), (ANSWERS_WRONGLY, "1"), (REFUSES, "7"), ("int other;", "1")],
    ids=["crashes", "answers wrongly", "refuses", "is something else"],
)
def test_a_library_that_does_not_compute_here_is_refused_and_not_kept(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, ended: str
) -> None:
    (real, *_) = build.find_compiler()
    odd = that_compiles(tmp_path / "compiler", source, real)
    monkeypatch.setenv("CXX", str(odd.command))
    with pytest.raises(MachineError) as raised:
        build.library()
    assert str(raised.value) == (
        f"the native operators, compiled by {odd.command}, do not run on this CPU (a trial ended "
        f"with {ended}): set devices.operators to plain"
    )
    assert list(cache.iterdir()) == []


def test_another_kind_of_machine_is_told_to_use_plain_operators(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(
        MachineError, match=r"this is linux on riscv64: set devices.operators to pl"
    ):
        build.library()
