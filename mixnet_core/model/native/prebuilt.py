"""The operators that a wheel brings, for a machine without a compiler."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from mixnet_core.errors import MixnetError
from mixnet_core.model.native.levels import FOLDER, LEVELS, RECORD, digest_of_sources
from mixnet_core.storage.files import read_json, sha256_of


def prebuilt(sources: Path) -> tuple[Path, str] | None:
    """Finds the best library for this CPU that was installed with the sources.

    Args:
        sources: the folder that they are in.

    Returns:
        Its path and its sha256; None where there is none that fits, or what is there is of other
        sources or damaged.
    """
    folder = sources / FOLDER
    if sys.platform != "linux" or not (folder / RECORD).is_file():
        return None
    try:
        record = read_json(folder / RECORD)
        if record["sources"] != digest_of_sources(sources):
            return None
        known = dict(record["libraries"])
    except (MixnetError, KeyError, TypeError, ValueError):
        return None
    has = _words_of_cpu()
    for level in LEVELS:
        path = folder / f"{level.name}.so"
        if level.machine != platform.machine() or not level.needs <= has or not path.is_file():
            continue
        if known.get(path.name) == sha256_of(path):
            return path, known[path.name]
    return None


def _words_of_cpu() -> set[str]:
    """Returns what the first core's CPU can, in the kernel's words."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    rows = (line.partition(":") for line in lines)
    said = [words for name, _, words in rows if name.strip() in ("flags", "Features")]
    return set(" ".join(said).split())
