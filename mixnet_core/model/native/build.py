"""Compiles the operators with this machine's C++ compiler, once, into the user's cache.

Without one they are copied there from the wheel, if it has them for this CPU.

    operators-KEY.so        KEY: sha256 over sources, flags, compiler and CPU, shortened
    operators-KEY.json      the library's own sha256

Two processes may build at once: each writes aside and renames, and equal inputs give equal
libraries. A library whose digest is not the recorded one is built again. Imports no MindSpore.
"""

from __future__ import annotations

import functools
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from mixnet_core.errors import MachineError, MixnetError
from mixnet_core.model.native.levels import flags_for, sources_in
from mixnet_core.model.native.prebuilt import prebuilt
from mixnet_core.storage.files import file_aside, fingerprint, read_json, sha256_of, write_json
from mixnet_core.storage.user_cache import cache_folder

SOURCES = Path(__file__).parent
FLAGS = flags_for("native")
_COMPILERS = ("g++", "c++", "clang++")
_MACHINES = ("x86_64", "aarch64")
_COMPILE_SECONDS = 300
# A convolution by the middle tap alone: 1x1x1x3 in, the same out. In a process of its own, because
# an instruction that this CPU lacks would end it.
_TRIAL = """
import ctypes, sys
x, w, y = (ctypes.c_float * 3)(1, 2, 3), (ctypes.c_float * 9)(0, 0, 0, 0, 1), (ctypes.c_float * 3)()
shapes = [(ctypes.c_int64 * 4)(*s) for s in ((1, 1, 1, 3), (1, 1, 3, 3), (1, 1, 1, 3))]
status = ctypes.CDLL(sys.argv[1]).mixconv_forward_symmetric(
    3, (ctypes.c_void_p * 3)(*map(ctypes.addressof, (x, w, y))), (ctypes.c_int * 3)(4, 4, 4),
    (ctypes.c_void_p * 3)(*map(ctypes.addressof, shapes)), None, None, None)
sys.exit(status or list(y) != [1, 2, 3])
"""

log = logging.getLogger(__name__)


@functools.cache
def library() -> Path:
    """Returns the compiled operators' file; builds it if this user has none for these sources here.

    Where there is no compiler, or what is on PATH fails, a wheel's own are taken (`prebuilt`).

    Raises:
        MachineError: no compiler, an unknown CPU, or sources that do not compile or run here; and
            nothing ready for this CPU, or `$CXX` is set.
    """
    try:
        return _compiled(find_compiler())
    except MachineError as error:
        # Who sets it wants that one, and no other.
        ready = None if os.environ.get("CXX", "").strip() else prebuilt(SOURCES)
        if ready is None:
            raise
        log.info("the native operators are those of the wheel: %s", error)
    return _copied(*ready)


def _compiled(compiler: list[str]) -> Path:
    key = fingerprint(_inputs(compiler))[:16]
    path = cache_folder("native") / f"operators-{key}.so"
    if not _intact(path):
        _build(compiler, path)
    return path


def _copied(ready: Path, sha256: str) -> Path:
    """Returns a copy of a library of that digest, which was tried on this CPU."""
    key = fingerprint({"prebuilt": ready.name, "sha256": sha256, "cpu": _cpu()})[:16]
    path = cache_folder("native") / f"operators-{key}.so"
    if not _intact(path):
        with file_aside(path) as aside:
            shutil.copyfile(ready, aside)
            _try(f"as the wheel has them for {ready.stem}", aside)
        write_json(_record(path), {"sha256": sha256})
    return path


def find_compiler() -> list[str]:
    """Finds a C++ compiler: the command in `$CXX`, or the first compiler on PATH.

    Returns:
        Its path, and the arguments that `$CXX` gives it.

    Raises:
        MachineError: there is none, or this is no machine that the operators are known to run on.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _MACHINES:
        raise MachineError(
            f"the native operators are for Linux on {' and '.join(_MACHINES)}, this is "
            f"{sys.platform} on {machine}: set devices.operators to plain"
        )
    named = os.environ.get("CXX", "").strip()
    for command in [named] if named else _COMPILERS:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise MachineError(
                f"CXX={named} cannot be read as a command ({error}): set it to a C++ compiler"
            ) from error
        found = shutil.which(words[0])
        if found:
            return [found, *words[1:]]
    raise MachineError(
        f"no C++ compiler: CXX={named} is not there; set CXX to one, or unset it"
        if named
        else f"no C++ compiler on PATH (looked for {', '.join(_COMPILERS)}): install one "
        "(Debian: apt install g++)"
    )


def compile_library(compiler: list[str], flags: tuple[str, ...], target: Path) -> None:
    """Compiles SOURCES to a shared library.

    Args:
        compiler: as `find_compiler` returns it.
        flags: come after the compiler's own arguments.
        target: the library's path.

    Raises:
        MachineError: the compiler failed; its first error is in the message.
    """
    command = [*compiler, *flags, *map(str, sources_in(SOURCES)), "-o", str(target)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMPILE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineError(f"cannot run {compiler[0]}: {error}") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        first = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")
        raise MachineError(
            f"{compiler[0]} cannot compile the native operators: {first.strip() or done.returncode}"
        )


def _inputs(compiler: list[str]) -> dict[str, object]:
    """Collects all that decides what comes out of the compiler."""
    sources = sorted([*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h")])
    return {
        "sources": {path.name: sha256_of(path) for path in sources},
        "flags": FLAGS,
        "compiler": [*compiler, _version(tuple(compiler))],
        "cpu": _cpu(),
    }


@functools.cache
def _version(compiler: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            [*compiler, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineError(f"cannot run {compiler[0]}: {error}") from error
    return done.stdout


def _cpu() -> list[str]:
    """Reads what -march=native looks at: the first core's model and features."""
    wanted = ("vendor_id", "cpu family", "model", "flags", "CPU part", "Features")
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    return [line for line in lines if line.split(":")[0].strip() in wanted]


def _record(path: Path) -> Path:
    return path.with_suffix(".json")


def _intact(path: Path) -> bool:
    try:
        return bool(path.is_file() and read_json(_record(path))["sha256"] == sha256_of(path))
    except (MixnetError, KeyError, TypeError, OSError):
        return False


def _build(compiler: list[str], path: Path) -> None:
    with file_aside(path) as aside:
        compile_library(compiler, FLAGS, aside)
        _try(f"compiled by {compiler[0]}", aside)
        digest = sha256_of(aside)
    write_json(_record(path), {"sha256": digest})


def _try(origin: str, path: Path) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRIAL, str(path)], capture_output=True, timeout=60, check=False
        )
        ended = f"ended with {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        ended = "did not end"
    if ended:
        raise MachineError(
            f"the native operators, {origin}, do not run on this CPU (a trial "
            f"{ended}): set devices.operators to plain"
        )
