"""Which driver, firmware, CANN and MindSpore are installed, by the files that they leave.

    /usr/local/Ascend/driver/version.info       Version=24.1.rc3, compatible_version_fw=[7.0.0,...]
    /usr/local/Ascend/firmware/version.info     Version=7.5.0.1.129, compatible_version_drv=[...]
    $ASCEND_HOME_PATH/ARCH-linux/ascend_toolkit_install.info                 version=8.5.0

Another place of driver and firmware stands in /etc/ascend_install.info. Their files are the host's:
in a container they are there where it mounts them, while CANN is the image's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

# Names CANN's folder in use; its set_env.sh sets it.
HOME_VARIABLE = "ASCEND_HOME_PATH"

_MOST_BYTES = 1 << 16
_ASCEND = "/usr/local/Ascend"
_TOOLKITS = (f"{_ASCEND}/ascend-toolkit/latest", f"{_ASCEND}/cann")
_INSTALL_INFO = "*-linux/ascend_toolkit_install.info"
_RANGE = re.compile(r"\[([^\[\],]+),([^\[\],]+)\]")
_TAKES = re.compile(r"class AscendEnvChecker\b.*?self\.version = \[([^\]]*)\]", re.DOTALL)


@dataclass(frozen=True)
class Installed:
    """Holds what is installed; None: it is not here, or does not say.

    Attributes:
        driver: the version of Ascend HDK that the driver is of.
        firmware: the newest firmware package's version, which runs after a reboot only.
        firmware_hdk: the version of Ascend HDK that the firmware is of.
        driver_takes: versions of the firmware that the driver works with, first and last each.
        cann: the toolkit's version.
        cann_folder: where it is.
        sourced: whether CANN's set_env.sh was read into this environment.
        mindspore: the package's version.
        mindspore_takes: versions of CANN that it was made for, as 8.5.
    """

    driver: str | None = None
    firmware: str | None = None
    firmware_hdk: str | None = None
    driver_takes: tuple[tuple[str, str], ...] = ()
    cann: str | None = None
    cann_folder: str | None = None
    sourced: bool = False
    mindspore: str | None = None
    mindspore_takes: tuple[str, ...] = ()


def read_installed(
    root: Path = Path("/"), environment: Mapping[str, str] = os.environ
) -> Installed:
    """Reads the files; none of them need be there.

    Args:
        root: of the file system.
        environment: of this process. Where it names CANN's folder, CANN is there or nowhere: a run
            would load that one.
    """
    noted = read_assignments(root / "etc" / "ascend_install.info")
    place = _below(root, noted.get("Driver_Install_Path_Param") or _ASCEND)
    driver = read_assignments(place / "driver" / "version.info")
    firmware = read_assignments(place / "firmware" / "version.info")
    home = environment.get(HOME_VARIABLE) or environment.get("ASCEND_TOOLKIT_HOME")
    folder, cann = _toolkit(root, [home] if home else _TOOLKITS)
    return Installed(
        driver=driver.get("package_version") or driver.get("Version"),
        firmware=firmware.get("Version"),
        firmware_hdk=firmware.get("package_version"),
        driver_takes=parse_ranges(driver.get("compatible_version_fw", "")),
        cann=cann,
        cann_folder=folder,
        sourced=bool(environment.get(HOME_VARIABLE)),
        mindspore=_mindspore(),
        mindspore_takes=_mindspore_takes(),
    )


def read_assignments(file: Path) -> dict[str, str]:
    """Reads lines of NAME=VALUE; {} where there is no such file, or none that may be read."""
    try:
        with file.open("rb") as opened:
            text = opened.read(_MOST_BYTES).decode(errors="replace")
    except OSError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip().strip('"') for name, equals, value in pairs if equals}


def parse_ranges(text: str) -> tuple[tuple[str, str], ...]:
    """Reads "[6.4.0,6.4.99],[7.0.0,7.7.99]"."""
    return tuple((first.strip(), last.strip()) for first, last in _RANGE.findall(text))


def lies_in(version: str, ranges: tuple[tuple[str, str], ...]) -> bool | None:
    """Tells whether a version is in one of the ranges, by the numbers that their ends state.

    So 7.5.0.1.129 is in 7.0.0 to 7.5.99.

    Returns:
        None: there are no ranges, or a version is not made of numbers.
    """
    own = _numbers(version)
    ends = [(_numbers(first), _numbers(last)) for first, last in ranges]
    if own is None or not ends:
        return None
    known = [(first, last) for first, last in ends if first is not None and last is not None]
    if len(known) < len(ends):
        return None
    return any(first <= own[: len(first)] and own[: len(last)] <= last for first, last in known)


def _numbers(version: str) -> tuple[int, ...] | None:
    parts = version.split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else None


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _toolkit(root: Path, folders: Sequence[str]) -> tuple[str | None, str | None]:
    """Returns the first of the folders that has a toolkit, and its version."""
    for folder in folders:
        for file in sorted(_below(root, folder).glob(_INSTALL_INFO)):
            if version := read_assignments(file).get("version"):
                return folder, version
        # Without the toolkit's own file, as in an image that was made smaller, its compiler's
        # tells, which MindSpore reads too.
        info = read_assignments(_below(root, folder) / "compiler" / "version.info")
        if version := info.get("version_dir") or info.get("Version"):
            return folder, version
    return None, None


def _mindspore() -> str | None:
    try:
        return metadata.version("mindspore")
    except metadata.PackageNotFoundError:
        return None


def _mindspore_takes() -> tuple[str, ...]:
    """Reads the list in MindSpore's own check, as text: importing it takes seconds."""
    try:
        package = metadata.distribution("mindspore")
        file = Path(str(package.locate_file("mindspore/run_check/_check_version.py")))
        text = file.read_text(encoding="utf-8", errors="replace")
    except (metadata.PackageNotFoundError, OSError):
        return ()
    return parse_mindspore_check(text)


def parse_mindspore_check(text: str) -> tuple[str, ...]:
    """Finds the versions of CANN in the text of mindspore/run_check/_check_version.py."""
    found = _TAKES.search(text)
    return tuple(re.findall(r"[\"'](\d+\.\d+)[\"']", found[1])) if found else ()
