"""The kinds of CPU that a wheel brings the operators for, and how they are compiled.

    prebuilt/LEVEL.so       in an installed wheel; a checkout has none
    prebuilt/levels.json    "sources": digest_of_sources; "libraries": LEVEL.so -> its sha256

Imports Python's own modules only: setup.py reads this file where nothing else is installed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = "prebuilt"
RECORD = "levels.json"


@dataclass(frozen=True)
class Level:
    """Names a kind of CPU as compilers do.

    Attributes:
        name: what -march takes.
        machine: as `platform.machine`.
        needs: words of /proc/cpuinfo that such a CPU has, by which it is known.
    """

    name: str
    machine: str
    needs: frozenset[str]


# Of a machine the better one first. The levels of x86-64 are those of its psABI.
LEVELS = (
    Level(
        "x86-64-v4",
        "x86_64",
        frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma"}),
    ),
    Level(
        "x86-64-v3",
        "x86_64",
        frozenset({"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ),
    Level("armv8-a", "aarch64", frozenset({"fp", "asimd"})),
)


def flags_for(march: str) -> tuple[str, ...]:
    """Returns a compiler's flags.

    Args:
        march: a level's name, or "native" for the CPU that compiles.
    """
    return (
        "-std=c++17",
        "-O3",
        f"-march={march}",
        "-ffp-contract=fast",
        "-fopenmp",
        "-fPIC",
        "-shared",
        "-Wall",
        "-Wextra",
        # Warns about how vectors are passed between functions; here all of those are inlined.
        "-Wno-psabi",
    )


def sources_in(folder: Path) -> list[Path]:
    """Returns what is compiled: the sources of a folder, in order."""
    return sorted(folder.glob("*.cpp"))


def digest_of_sources(folder: Path) -> str:
    """Returns the sha256, hex, of the names and contents of a folder's sources and headers."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.cpp"), *folder.glob("*.h")]):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()
