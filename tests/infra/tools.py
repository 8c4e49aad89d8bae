"""Programs that look at files of infra/; `make infra` has them in an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
# Where `make infra` has them; else whatever is in the path.
_PLACE = os.environ.get("MIXNET_INFRA_TOOLS") or str(ROOT / ".venv-infra" / "bin")


def program(name: str) -> str | None:
    """Finds a tool; None: it is not here."""
    return shutil.which(name, path=_PLACE) or shutil.which(name)


def interpreter(package: str) -> str | None:
    """Finds the tools' Python, if a package is installed there."""
    place = Path(_PLACE)
    there = any(place.parent.glob(f"lib/python3*/site-packages/{package}"))
    return str(place / "python") if there else None


def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test in one line where a tool is missing."""
    return pytest.mark.skipif(program(name) is None, reason=f"needs {name}: make infra")


def said(name: str, *arguments: object, **environment: str) -> tuple[int, str]:
    """Runs a tool; returns its exit code and all that it said."""
    found = program(name)
    assert found is not None
    done = subprocess.run(
        [found, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
    )
    return done.returncode, done.stdout + done.stderr
