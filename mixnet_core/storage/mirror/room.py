"""How much mirrors may take, and which go where there is no room: the least recently used."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from mixnet_core.errors import InputError, MachineError
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.mirror.holding import (
    PLACE,
    if_unused,
    is_fetched,
    last_used,
    one_at_a_time,
)
from mixnet_core.storage.sizes import size
from mixnet_core.storage.uris import shown

VARIABLE = "MIXNET_MIRRORS"
"""How much all mirrors may take, as 500GB; half of their disk where it is not set."""

# What is left of a disk for everybody else, and for the folders of the mirror itself.
SPARE_BYTES = 256 << 20
log = logging.getLogger(__name__)

# In a mirror's folder while it is fetched: how many bytes it will have.
_WANTED = ".wanted"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)", re.IGNORECASE)
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def most_bytes(mirrors: Path) -> int:
    """Returns how much all mirrors may take together.

    Raises:
        InputError: the variable is no size.
        MachineError: the disk cannot be asked.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        with os_errors_explained(mirrors, "read"):
            return shutil.disk_usage(mirrors).total // 2
    found = _SIZE.fullmatch(text)
    if found is None:
        raise InputError(f"{VARIABLE} is {shown(text)!r}: expected a size, as 500GB")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def expect_room(uri: str, mirror: Path, whole: int, missing: int, files: int) -> None:
    """Makes sure that what is missing of a mirror fits, once others are removed if need be.

    Args:
        whole: bytes of the whole prefix.
        missing: bytes that are still to be fetched.
        files: how many files that are.

    Raises:
        MachineError: it does not.
        InputError: as `most_bytes`.
    """
    mirrors = mirror.parent
    most = most_bytes(mirrors)
    if whole > most:
        raise MachineError(
            f"{shown(uri)} has {size(whole)}, mirrors in {mirrors} may take {size(most)}: set "
            f"{VARIABLE} to more, or MIXNET_CACHE to a folder on a larger disk"
        )
    with os_errors_explained(mirrors, "read"):
        disk, left = shutil.disk_usage(mirrors), os.statvfs(mirrors)
    needed = missing + SPARE_BYTES
    if disk.free < needed and disk.free + sum(map(taken_by, _all(mirrors))) < needed:
        raise MachineError(
            f"{shown(uri)} needs {size(missing)} more, {size(disk.free)} are free in {mirrors}: "
            "free space, or set MIXNET_CACHE to a folder on a larger disk"
        )
    # Some file systems have no fixed number of them, and say 0 of 0.
    if left.f_files and left.f_favail < 2 * files:
        raise MachineError(
            f"{shown(uri)} has {files:,} more files, {left.f_favail:,} fit on the disk of "
            f"{mirrors}: set MIXNET_CACHE to a folder on another disk"
        )


def make_room(uri: str, mirror: Path, missing: int, tidy: Callable[[], None]) -> None:
    """Removes what is not used until what is missing of a mirror fits.

    That is first what the mirror itself has of earlier listings, then other mirrors, the least
    recently used first. Nobody uses this one yet, and this process is the one that fetches it.

    Args:
        missing: bytes that are still to be fetched, at least one.
        tidy: removes what the mirror has of earlier listings.

    Raises:
        MachineError: what is used leaves too little; or a disk cannot be asked.
        InputError: as `most_bytes`.
    """
    with one_at_a_time(mirror.parent):
        _make_room(uri, mirror, missing, tidy)
        with os_errors_explained(mirror):
            (mirror / _WANTED).write_text(str(taken_by(mirror) + missing))


def _make_room(uri: str, mirror: Path, missing: int, tidy: Callable[[], None]) -> None:
    mirrors = mirror.parent
    most = most_bytes(mirrors)
    others = [other for other in _all(mirrors) if other != mirror]
    taken = {other: taken_by(other) for other in (*others, mirror)}
    # What others fetch just now has its room already, and is not all on the disk.
    coming = {other: max(0, _wanted(other) - taken[other]) for other in others}

    def lacks() -> bool:
        with os_errors_explained(mirrors, "read"):
            free = shutil.disk_usage(mirrors).free - sum(coming.values())
        all_of_them = sum(taken.values()) + sum(coming.values())
        return all_of_them + missing > most or free < missing + SPARE_BYTES

    if lacks():
        with if_unused(mirror, fetched_here=True) as unused:
            if unused:
                tidy()
                taken[mirror] = taken_by(mirror)
    for other in sorted(taken.keys() - {mirror}, key=last_used):
        if not lacks():
            return
        if _removed(other):
            log.info("%s: removed, to make room for %s", other, shown(uri))
            del taken[other]
    if lacks():
        raise MachineError(
            f"{shown(uri)} needs {size(missing)} more in {mirrors}, where mirrors that are in use "
            f"have {size(sum(taken.values()) + sum(coming.values()))} and may take {size(most)}: "
            f"wait until they are not, free space, or set {VARIABLE} to more"
        )


def taken_by(mirror: Path) -> int:
    """Returns how many bytes a mirror's files have; of a file that is being written, what is there.

    Raises:
        MachineError: it cannot be looked at.
    """
    total = 0
    with os_errors_explained(mirror, "read"):
        for place, _, files in os.walk(mirror / "pool"):
            for name in files:
                try:
                    # A large object that is not whole has its length from the beginning.
                    total += 512 * os.stat(f"{place}/{name}").st_blocks  # noqa: PTH116
                except FileNotFoundError:
                    continue
    return total


def _wanted(mirror: Path) -> int:
    """Returns how many bytes a mirror will have whose process fetches just now; 0: none does."""
    try:
        return int((mirror / _WANTED).read_text()) if is_fetched(mirror) else 0
    except (OSError, ValueError):
        return 0


def _all(mirrors: Path) -> list[Path]:
    with os_errors_explained(mirrors, "read"):
        return [path for path in mirrors.iterdir() if (path / PLACE).is_file()]


def _removed(mirror: Path) -> bool:
    """Removes a mirror that nobody uses, what names it last; tells whether it is gone."""
    with if_unused(mirror) as unused:
        if not unused:
            return False
        with os_errors_explained(mirror, "remove"):
            for path in mirror.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
            shutil.rmtree(mirror)
    return True
