"""What this machine is: its processor, its Ascend's versions, its packages, from documented files.

    /usr/local/Ascend/driver/version.info      Version=24.1.0
    /usr/local/Ascend/firmware/version.info    Version=7.5.0.3.220
    $ASCEND_HOME_PATH/*-linux/ascend_toolkit_install.info    version=8.0.0

As Ascend's installation guides name them; another place of the driver stands in
/etc/ascend_install.info. What cannot be read is left empty, never guessed.
"""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

from mixnet_core.runs.values import Machine

DISTRIBUTION = "mindspore-mixnet"
# What decides about the bits of training: the rest only moves them.
_PACKAGES = (DISTRIBUTION, "mindspore", "numpy", "opencv-python-headless", "pillow")
_TOOLKIT = ("/usr/local/Ascend/ascend-toolkit/latest", "/usr/local/Ascend/cann")


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
    said = _value(root / "etc/ascend_install.info", "Driver_Install_Path_Param")
    driver = root / (said or "/usr/local/Ascend").lstrip("/")
    homes = [os.environ.get("ASCEND_HOME_PATH"), os.environ.get("ASCEND_TOOLKIT_HOME"), *_TOOLKIT]
    infos = [
        info
        for home in homes
        if home
        for info in sorted((root / home.lstrip("/")).glob("*-linux/ascend_toolkit_install.info"))
    ]
    return {
        "ascend_driver": _value(driver / "driver/version.info", "Version"),
        "ascend_firmware": _value(driver / "firmware/version.info", "Version"),
        "cann": next((text for info in infos if (text := _value(info, "version"))), ""),
    }


def _processor(cpuinfo: Path) -> str:
    # x86 says it a core; ARM has no name there.
    found = re.search(r"^model name\s*:\s*(.+)$", _text(cpuinfo), flags=re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.machine()


def _value(path: Path, key: str) -> str:
    found = re.search(rf"^{key}\s*=\s*(\S+)\s*$", _text(path), flags=re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
