"""What this machine is: its processor, its Ascend's versions, its packages.

What cannot be read is left empty, never guessed.
"""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

from mixnet_core.host.installed import read_installed
from mixnet_core.runs.values import Machine

DISTRIBUTION = "mindspore-mixnet"
# What decides about the bits of training: the rest only moves them.
_PACKAGES = (DISTRIBUTION, "mindspore", "numpy", "opencv-python-headless", "pillow")


def this_machine(device: str) -> Machine:
    """Describes this machine.

    Args:
        device: what is computed on, as `recipe.Devices.target`.
    """
    found = Machine(
        device=device,
        processor=_processor(Path("/proc/cpuinfo")),
        cores=len(os.sched_getaffinity(0)),
        packages=packages(),
    )
    return found.model_copy(update=ascend_versions()) if device == "Ascend" else found


def packages() -> dict[str, str]:
    """Returns the versions of what computes, by package; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def ascend_versions(root: Path = Path("/")) -> dict[str, str]:
    """Reads the versions of an Ascend's driver, firmware and CANN; "" for what is not there.

    Args:
        root: of the file system.
    """
    found = read_installed(root)
    return {
        "ascend_driver": found.driver or "",
        "ascend_firmware": found.firmware or "",
        "cann": found.cann or "",
    }


def _processor(cpuinfo: Path) -> str:
    # x86 says it a core; ARM has no name there.
    found = re.search(r"^model name\s*:\s*(.+)$", _text(cpuinfo), flags=re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.machine()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
