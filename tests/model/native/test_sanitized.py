"""No operator reads or writes beyond its memory, or does what C++ leaves undefined."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mixnet_core.model.native import build
from tests.model.native import cases

ROOT = Path(__file__).parents[3]
FLAGS = (
    *(flag for flag in build.FLAGS if not flag.startswith("-O")),
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
)


def runtime(compiler: list[str], name: str) -> str:
    """Where the compiler keeps one of its libraries; only the name if it has none."""
    command = [*compiler, f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_every_case_runs_clean_under_the_address_and_undefined_behaviour_sanitizers(
    tmp_path: Path,
) -> None:
    compiler = build.find_compiler()
    runtimes = [runtime(compiler, name) for name in ("libasan.so", "libubsan.so")]
    if not all(Path(path).is_absolute() for path in runtimes):
        pytest.skip(f"{compiler[0]} has no sanitizers installed")
    build.compile_library(compiler, FLAGS, tmp_path / "sanitized.so")
    done = subprocess.run(
        [sys.executable, "-m", cases.__name__, str(tmp_path / "sanitized.so")],
        env={
            **os.environ,
            # Python itself is not compiled with them, so they have to be there before it. They then
            # serve NumPy's allocations too: every array ends where its memory does.
            "LD_PRELOAD": " ".join(runtimes),
            # An interpreter that ends leaves most of its memory to the system.
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "OMP_NUM_THREADS": "2",
            "OMP_WAIT_POLICY": "PASSIVE",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert len(done.stdout.strip()) == 64
