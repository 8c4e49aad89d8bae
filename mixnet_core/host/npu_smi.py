"""Reads what `npu-smi` prints; formats as of drivers 23.0 to 26.0.

The table of `npu-smi info` has two lines a chip, and a second table of processes:

    | NPU   Name       | Health        | Power(W)    Temp(C)           Hugepages-Usage(page) |
    | Chip  Phy-ID     | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)         |
    | 0     Ascend910  | OK            | 162.6       34                0    / 0              |
    | 0     0          | 0000:9D:00.0  | 0           0    / 0          3419 / 65536          |
    | NPU     Chip     | Process id    | Process name             | Process memory(MB)       |

Sources: the command reference at hiascend.com, and outputs that users posted; tests/host/samples
names each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

# Of the command reference: "OK, Warning, Alarm, Critical or UNKNOWN".
WELL = "OK"
# It goes on working with one; its owner has to look.
WORRIED = "Warning"

_DRIVER = re.compile(r"\bVersion:\s*(\S+)")
_CHIP = re.compile(r"(\d+)(?:\s+(\S+))?")
_NAMED = re.compile(r"(\d+)\s+(\S.*)")
_BUS = re.compile(r"[0-9A-Fa-f]{4,}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]")
_REFUSED = re.compile(r"dcmi mod\w+ initiali\w+ failed.*?ret is (-\d+)")
# Another container has the devices; other numbers are of a driver that cannot be reached.
IN_USE = -8020


@dataclass(frozen=True)
class Chip:
    """Holds what the table says of one chip: to a program, one device.

    Attributes:
        npu: the card's number, as `npu-smi -i` takes it.
        number: the chip's on its card, as `-c` takes it.
        physical: its number over all cards, as hccn_tool takes it, where the table has it.
        name: such as 910B3.
        health: as printed: OK, Warning, Alarm, Critical or UNKNOWN.
        bus: PCI address in lower case; None where the table has none.
        processes: number -> name of those that use it.
    """

    npu: int
    number: int
    name: str
    health: str
    physical: int | None = None
    bus: str | None = None
    processes: Mapping[int, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Info:
    """Holds what `npu-smi info` says.

    Attributes:
        driver: its version; None where the output has no title.
        chips: in the order of the table.
    """

    driver: str | None
    chips: tuple[Chip, ...]


def parse_info(text: str) -> Info | None:
    """Reads `npu-smi info`; None: it is no such table, as an error message."""
    if "Health" not in text or "NPU" not in text:
        return None
    title = next((line for line in text.splitlines() if "npu-smi" in line and "|" in line), "")
    driver = _DRIVER.search(title)
    return Info(driver[1] if driver else None, tuple(_chips(text)))


def _chips(text: str) -> Iterator[Chip]:
    chips: list[Chip] = []
    first: tuple[int, str, str] | None = None
    users: dict[tuple[int, int], dict[int, str]] = {}
    for cells in _rows(text):
        if len(cells) == 3:
            named, chip = _NAMED.fullmatch(cells[0]), _CHIP.fullmatch(cells[0])
            if first is None and named:
                first = int(named[1]), named[2], cells[1]
            elif first is not None and chip:
                chips.append(_chip(first, chip, cells[1]))
                first = None
        elif len(cells) == 4 and cells[1].isdecimal():
            where = re.fullmatch(r"(\d+)\s+(\d+)", cells[0])
            if where:
                key = int(where[1]), int(where[2])
                users.setdefault(key, {})[int(cells[1])] = cells[2]
    for chip_of in chips:
        yield replace(chip_of, processes=users.get((chip_of.npu, chip_of.number), {}))


def _chip(first: tuple[int, str, str], second: re.Match[str], bus: str) -> Chip:
    npu, name, health = first
    physical = second[2]
    return Chip(
        npu=npu,
        number=int(second[1]),
        name=name,
        health=health,
        physical=int(physical) if physical and physical.isdecimal() else None,
        bus=bus.lower() if _BUS.fullmatch(bus) else None,
    )


def _rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("|") and line.endswith("|"):
            yield [cell.strip() for cell in line[1:-1].split("|")]


def parse_fields(text: str) -> dict[str, str]:
    """Reads `npu-smi info -t board` or `-t health`: a name, a colon and a value a line.

    A name that stands twice keeps its first value: the second is of another chip, as the MCU.
    "NA" is no value.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and value.strip() not in ("", "NA"):
            found.setdefault(name.strip(), value.strip())
    return found


def refusal(text: str) -> int | None:
    """Reads why npu-smi could not start at all: a number of the driver's; None: it could."""
    found = _REFUSED.search(text)
    return int(found[1]) if found else None
