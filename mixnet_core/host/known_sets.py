"""Sets of MindSpore, CANN, driver and firmware that their makers name together.

A set that is not here is not wrong: nobody has written down that it is right. Driver and firmware
come in one package, Ascend HDK, whose version is the driver's; a firmware's own version stands here
where a source has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mixnet_core.host.installed import Installed

_CARD = "hub card of mixnet_s; MindCV's model pages"
_FORMERS = "mindspore.cn/mindformers, r1.9.0, Installation Guidelines"
_NOTES = "hiascend.com, CANN 9.2.0 release notes"


@dataclass(frozen=True)
class KnownSet:
    """Holds one row: versions as its source writes them.

    Attributes:
        firmware: None: the source does not name one.
    """

    mindspore: str
    cann: str
    driver: str
    firmware: str | None
    source: str


KNOWN_SETS = (
    KnownSet("2.3.0", "8.0.RC2", "24.1.RC2", None, _FORMERS),
    KnownSet("2.4.0", "8.0.RC3", "24.1.RC3", None, _FORMERS),
    KnownSet("2.4.10", "8.0.0", "24.1.0", None, _FORMERS),
    KnownSet("2.5.0", "8.0.0.beta1", "24.1.0", "7.5.0.3.220", _CARD),
    KnownSet("2.6.0-rc1", "8.1.RC1", "25.0.RC1", None, _FORMERS),
    KnownSet("2.7.0", "8.2.RC1", "25.2.0", None, _FORMERS),
    KnownSet("2.7.1", "8.3.RC1", "25.3.RC1", None, _FORMERS),
    KnownSet("2.7.2", "8.5.0", "25.5.0", None, _FORMERS),
    KnownSet("2.9.0", "9.0.0", "26.0.RC1", None, _FORMERS),
    # No page names MindSpore 2.10 with a driver: it names CANN 9.1 itself, as the newest that it
    # was made for, and CANN 9.1.0's release notes name the driver.
    KnownSet(
        "2.10.0",
        "9.1.0",
        "26.0.RC1",
        None,
        "mindspore 2.10.0, run_check/_check_version.py; hiascend.com, CANN 9.1.0 release notes",
    ),
)

# How CANN's versions begin -> the drivers' first two numbers that the release notes say it works
# with, and those that they say it does not work with. Older and newer drivers are in neither.
CANN_AND_DRIVERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "8.5.2": (("25.0", "25.2", "25.3", "25.5", "25.7", "26.0", "26.1", "26.2"), ()),
    "9.0": (("25.0", "25.2", "25.3", "25.5", "25.7", "26.0", "26.1", "26.2"), ()),
    "9.1": (("25.2", "25.3", "25.5", "25.7", "26.0", "26.1", "26.2"), ("25.0",)),
    "9.2": (("25.3", "25.5", "25.7", "26.0", "26.1", "26.2"), ("25.0", "25.2")),
}
CANN_AND_DRIVERS_SOURCE = _NOTES


def find_set(installed: Installed) -> KnownSet | None:
    """Finds the row that is installed, as far as that is known; None: there is none.

    MindSpore, CANN and the driver must be known. A firmware that a row names must be the one
    installed, if that is known.
    """
    for row in KNOWN_SETS:
        firmware = row.firmware is None or installed.firmware in (None, row.firmware)
        if firmware and all(
            same_version(theirs, ours)
            for theirs, ours in (
                (row.mindspore, installed.mindspore),
                (row.cann, installed.cann),
                (row.driver, installed.driver),
            )
        ):
            return row
    return None


def sets_of(mindspore: str | None) -> tuple[KnownSet, ...]:
    """Lists the rows of one MindSpore."""
    return tuple(row for row in KNOWN_SETS if same_version(row.mindspore, mindspore))


def same_version(one: str, other: str | None) -> bool:
    """Tells whether two spellings are of one release: 24.1.RC1 and 24.1.rc1, 8.0.0.beta1 and 8.0.0.

    A community edition has .beta1 behind the commercial one's version: MindSpore Transformers'
    pages write the same rows both ways. 2.6.0-rc1 is 2.6.0rc1 once pip has installed it.
    """
    return other is not None and _spelled(one) == _spelled(other)


def _spelled(version: str) -> str:
    return (
        re.sub(r"\.beta1$", "", version.strip().lower()).replace("-rc", "rc").replace(".rc", "rc")
    )


def driver_fits_cann(cann: str, driver: str) -> bool | None:
    """Says what CANN's release notes say of a driver; None: they do not name both."""
    for begin, (fits, fits_not) in CANN_AND_DRIVERS.items():
        if f"{cann}.".startswith(f"{begin}."):
            name = first_two(driver)
            return True if name in fits else False if name in fits_not else None
    return None


def first_two(version: str) -> str:
    """Returns the first two numbers of a version, as 8.2 of 8.2.RC1."""
    return ".".join(version.split(".")[:2])


def table() -> str:
    """Writes the known sets in Markdown, the newest first, for the documents."""
    rows = ["| MindSpore | CANN | driver | firmware | source |", "|---|---|---|---|---|"]
    for row in reversed(KNOWN_SETS):
        firmware = row.firmware or "the driver's package's"
        rows.append(f"| {row.mindspore} | {row.cann} | {row.driver} | {firmware} | {row.source} |")
    return "\n".join(rows)
