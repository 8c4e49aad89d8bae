"""Checks of Ascend's devices and of the software under MindSpore, by what Ascend's tools say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mixnet_core.errors import visible
from mixnet_core.host import hccn, npu_smi
from mixnet_core.host.command import SECONDS, Answer, ask, find_program
from mixnet_core.host.installed import HOME_VARIABLE, Installed, lies_in
from mixnet_core.host.known_sets import (
    CANN_AND_DRIVERS_SOURCE,
    KNOWN_SETS,
    KnownSet,
    driver_fits_cann,
    find_set,
    first_two,
    same_version,
    sets_of,
)
from mixnet_core.host.npu_smi import Chip, Info
from mixnet_core.stages.check_result import CheckResult, absent, failed, good, unknown, warning

# Of one question to hccn_tool or for one device's health: there are many.
LINK_SECONDS = 5.0
VISIBLE_VARIABLE = "ASCEND_RT_VISIBLE_DEVICES"
_NONE_HERE = "no Ascend tools here"
TARGET = "Ascend"
_INTO_CONTAINER = (
    "in a container, mount the host's /usr/local/bin/npu-smi and /usr/local/Ascend/driver, and "
    "pass --device=/dev/davinciN, davinci_manager, devmm_svm and hisi_hdc"
)


@dataclass(frozen=True)
class Chips:
    """Holds the devices that npu-smi names, and what it says of the first one's board."""

    info: Info | None = None
    board: Mapping[str, str] = field(default_factory=dict)

    @property
    def all(self) -> tuple[Chip, ...]:
        """Lists the devices, in the order in which a program numbers them."""
        return self.info.chips if self.info else ()


def check_devices(
    target: str | None,
    ranks: int,
    *,
    dev: Path,
    environment: Mapping[str, str],
) -> tuple[Chips, CheckResult]:
    """Asks npu-smi for the devices and their health.

    Args:
        target: as devices.target; None: whatever is there.
        ranks: how many devices a run takes.
        dev: where device files stand.
        environment: may name the devices that a run sees.

    Returns:
        The devices, and the check's result.
    """
    program = find_program("npu-smi")
    files = sorted(dev.glob("davinci[0-9]*"))
    if program is None:
        if target == TARGET:
            return Chips(), failed("devices", f"{_NONE_HERE}: no npu-smi", _INTO_CONTAINER)
        if files:
            detail = f"{len(files)} devices in {dev}, but no npu-smi to ask for their health"
            return Chips(), unknown("devices", detail, _INTO_CONTAINER)
        return Chips(), absent("devices", _NONE_HERE)
    answer = ask(program, ["info"], seconds=SECONDS)
    info = npu_smi.parse_info(answer.text) if answer.how != "hung" else None
    if info is None or not info.chips:
        return Chips(), _no_table(answer, ranks if target == TARGET else 0)
    first = info.chips[0]
    board = ask(program, ["info", "-t", "board", "-i", str(first.npu)])
    fields = npu_smi.parse_fields(board.text) if board.how == "said" else {}
    chips = Chips(info, fields)
    reasons = {chip: _reason(program, chip) for chip in info.chips if chip.health != npu_smi.WELL}
    return chips, _judged(chips.all, reasons, target, ranks, environment)


def _no_table(answer: Answer, wanted: int) -> CheckResult:
    if answer.how == "hung":
        detail, fix = "npu-smi does not answer", "see `dmesg`; the host may need a reboot"
    elif npu_smi.refusal(answer.text) == npu_smi.IN_USE:
        detail = "another container holds the devices"
        fix = "end it, or start this one with other devices"
    elif npu_smi.refusal(answer.text) is not None:
        detail = f"npu-smi cannot reach the driver: {answer.line}"
        fix = (
            "reboot if driver or firmware were installed since, join the group HwHiAiUser; "
            + _INTO_CONTAINER
        )
    else:
        detail, fix = f"npu-smi lists no device: {answer.line}", _INTO_CONTAINER
    return failed("devices", detail, fix) if wanted else warning("devices", detail, fix)


def _reason(program: Path, chip: Chip) -> str:
    """Asks why a device is not well."""
    answer = ask(
        program,
        ["info", "-t", "health", "-i", str(chip.npu), "-c", str(chip.number)],
        seconds=LINK_SECONDS,
    )
    found = npu_smi.parse_fields(answer.text)
    said = [found[name] for name in ("Error Code", "Error Information") if name in found]
    return visible(" ".join(said))[:200]


def _judged(
    chips: Sequence[Chip],
    reasons: Mapping[Chip, str],
    target: str | None,
    ranks: int,
    environment: Mapping[str, str],
) -> CheckResult:
    names = ", ".join(sorted({chip.name for chip in chips}))
    detail = f"{len(chips)} x {names}"
    visible_ones, wrong = _visible(chips, environment)
    if wrong:
        return failed("devices", f"{detail}, but {wrong}", f"correct {VISIBLE_VARIABLE}")
    if len(visible_ones) < len(chips):
        detail += f", {len(visible_ones)} of them in {VISIBLE_VARIABLE}"
    more = tuple(f"{_named(chip)}: {reason or chip.health}" for chip, reason in reasons.items())
    if target == TARGET and len(visible_ones) < ranks:
        return failed("devices", f"{detail}, {ranks} ranks need {ranks}", "lower devices.ranks")
    ill = [chip for chip in reasons if chip.health != npu_smi.WORRIED]
    if ill:
        said = f"{detail}; health {_list_of(ill)}"
        others = [chip for chip in visible_ones if chip not in ill]
        fix = (
            f"`npu-smi set -t reset -i {ill[0].npu} -c {ill[0].number}` without a process on it, "
            f"or leave it out: {VISIBLE_VARIABLE}={_numbers(chips, others)}"
        )
        # What a run would not be given ends none.
        if not set(ill) & set(visible_ones):
            return warning("devices", said, fix, more)
        result = failed("devices", said, fix)
        return result.model_copy(update={"more": more})
    if reasons:
        fix = "see what the codes say, before it gets worse"
        return warning("devices", f"{detail}; health {_list_of(list(reasons))}", fix, more)
    busy = [chip for chip in visible_ones if chip.processes]
    if busy:
        users = tuple(
            f"{_named(chip)}: "
            + ", ".join(f"process {number} ({name})" for number, name in chip.processes.items())
            for chip in busy
        )
        said = f"{detail}, all OK; in use: {_numbers(chips, busy)}"
        return warning("devices", said, "wait for them, or leave these devices out", users)
    return good("devices", f"{detail}, all OK")


def _visible(chips: Sequence[Chip], environment: Mapping[str, str]) -> tuple[list[Chip], str]:
    """Returns the devices that a run sees, and what is wrong with how they are named."""
    text = environment.get(VISIBLE_VARIABLE, "").strip()
    if not text:
        return list(chips), ""
    # They are counted from 0, but where one card is gone, some tools go by the cards' own numbers.
    numbered = {chip.npu: chip for chip in chips} | dict(enumerate(chips))
    found = []
    for part in text.split(","):
        chip = numbered.get(int(part)) if part.strip().isdecimal() else None
        if chip is None:
            there = f"0 to {len(chips) - 1}" if len(chips) > 1 else "0"
            return [], f"{VISIBLE_VARIABLE} names {visible(part)[:20]!r}; there are {there}"
        found.append(chip)
    return found, ""


def _named(chip: Chip) -> str:
    return f"NPU {chip.npu} chip {chip.number}"


def _list_of(chips: Sequence[Chip]) -> str:
    return ", ".join(f"{visible(chip.health)[:20]} of {_named(chip)}" for chip in chips)


def _numbers(chips: Sequence[Chip], some: Sequence[Chip]) -> str:
    return ",".join(str(chips.index(chip)) for chip in some)


def check_driver(installed: Installed, chips: Chips) -> CheckResult:
    """Checks that driver and firmware are of versions that work together, as the driver says."""
    driver = installed.driver or (chips.info.driver if chips.info else None)
    running = chips.board.get("Firmware Version")
    firmware = running or installed.firmware
    if driver is None:
        return absent("driver", _NONE_HERE)
    detail = f"driver {driver}, firmware {firmware or 'unknown'}"
    matching = f"install the firmware of Ascend HDK {driver}, then reboot"
    said = chips.board.get("Compatibility")
    if said == "NOK":
        return failed("driver", f"{detail}: npu-smi says that they do not fit", matching)
    if firmware is None:
        return unknown("driver", detail, _INTO_CONTAINER)
    if lies_in(firmware, installed.driver_takes) is False:
        takes = ", ".join(f"{first} to {last}" for first, last in installed.driver_takes)
        return failed("driver", f"{detail}; the driver works with {takes}", matching)
    if running and installed.firmware and running != installed.firmware:
        said_too = f"{detail}; {installed.firmware} is installed and does not run yet"
        return warning("driver", said_too, "reboot the host")
    hdk = installed.firmware_hdk
    if hdk and not same_version(hdk, driver):
        return warning("driver", f"{detail} of Ascend HDK {hdk}", matching)
    if said == "OK" or installed.driver_takes:
        return good("driver", f"{detail}: they fit")
    return unknown("driver", f"{detail}; nothing here says whether they fit")


def check_cann(installed: Installed, target: str | None) -> CheckResult:
    """Checks that CANN is installed, set up, and one that this MindSpore was made for."""
    takes = installed.mindspore_takes
    expected = f"{', '.join(takes)}" if takes else "see mindspore.cn/install"
    if installed.cann is None:
        if target != TARGET and installed.driver is None:
            return absent("cann", _NONE_HERE)
        detail = "no CANN toolkit found"
        where = (installed.sourced and f" where {HOME_VARIABLE} leads") or ""
        fix = (
            f"install CANN ({expected} for mindspore {installed.mindspore}), source its set_env.sh"
        )
        if target == TARGET:
            return failed("cann", detail + where, fix)
        return warning("cann", detail + where, fix)
    detail = f"CANN {installed.cann} in {installed.cann_folder}"
    if takes and first_two(installed.cann) not in takes:
        said = f"{detail}; mindspore {installed.mindspore} was made for {expected}"
        return warning("cann", said, f"install one of these, or the mindspore for {installed.cann}")
    if not installed.sourced:
        fix = f"source {_set_env(installed.cann_folder)} in the shell that starts runs"
        return warning("cann", f"{detail}, but {HOME_VARIABLE} is not set", fix)
    if takes:
        return good("cann", f"{detail}; mindspore {installed.mindspore} was made for it")
    return unknown("cann", f"{detail}; this mindspore does not say which it was made for")


def _set_env(folder: str | None) -> str:
    path = Path(folder or "CANN")
    # The older layout has it beside `latest`.
    return str((path.parent if path.name == "latest" else path) / "set_env.sh")


def check_set(installed: Installed, target: str | None) -> CheckResult:
    """Looks the installed set up among the known ones; another one is said, not refused."""
    if installed.cann is None and installed.driver is None and target != TARGET:
        return absent("set", f"{_NONE_HERE}; mindspore {installed.mindspore} runs on the CPU")
    ours = _as_words(installed)
    found = find_set(installed)
    if found:
        return good("set", f"{ours}: named by {found.source}")
    cann, driver = installed.cann, installed.driver
    if cann and driver and driver_fits_cann(cann, driver) is False:
        said = f"{ours}: driver {driver} is not for CANN {cann} ({CANN_AND_DRIVERS_SOURCE})"
        return warning("set", said, "install a newer driver and firmware, or an older CANN")
    rows = sets_of(installed.mindspore)
    if not rows:
        newest = _row(KNOWN_SETS[-1])
        said = f"{ours}: no known set has mindspore {installed.mindspore}; the newest is {newest}"
        return unknown("set", said)
    if cann and driver and driver_fits_cann(cann, driver):
        said = f"{ours}: not among the known sets, but CANN's release notes name the driver"
        return unknown("set", said, f"known: {_row(rows[-1])}")
    return warning("set", f"{ours}: not among the known sets", f"known: {_row(rows[-1])}")


def _as_words(installed: Installed) -> str:
    parts = (
        ("mindspore", installed.mindspore),
        ("CANN", installed.cann),
        ("driver", installed.driver),
        ("firmware", installed.firmware),
    )
    return ", ".join(f"{name} {value or 'unknown'}" for name, value in parts)


def _row(row: KnownSet) -> str:
    firmware = f", firmware {row.firmware}" if row.firmware else ""
    return f"mindspore {row.mindspore}, CANN {row.cann}, driver {row.driver}{firmware}"


def check_links(chips: Chips) -> CheckResult:
    """Asks hccn_tool for each device's network port.

    The devices of one host talk over its own buses; the network carries runs over several hosts.
    """
    if not chips.all:
        return absent("links", _NONE_HERE)
    if len(chips.all) == 1:
        return absent("links", "one device talks to no other")
    program = find_program("hccn_tool")
    if program is None:
        return unknown("links", "no hccn_tool to ask", "mount /usr/local/Ascend/driver/tools")
    ports, answer = [], Answer("said", "")
    for number, chip in enumerate(chips.all):
        device = number if chip.physical is None else chip.physical
        port, answer = hccn.read_port(
            device, lambda words: ask(program, words, seconds=LINK_SECONDS)
        )
        ports.append(port)
        if answer.how == "hung":
            return warning("links", "hccn_tool does not answer", "see `dmesg`")
    return _judged_ports(ports, answer)


def _judged_ports(ports: Sequence[hccn.Port], answer: Answer) -> CheckResult:
    known = [port for port in ports if port.up is not None]
    if not known:
        return unknown("links", f"hccn_tool says: {answer.line}", "ask as root")
    switches = {port.tls for port in ports if port.tls is not None}
    down = [port.device for port in known if not port.up]
    sick = [
        f"{port.device} ({port.health})" for port in ports if port.health not in (None, "Success")
    ]
    detail = f"{len(known) - len(down)} of {len(ports)} up"
    if len(switches) > 1:
        fix = "`hccn_tool -i N -tls -s enable 0` (or 1) on every device of every host alike"
        return warning("links", f"{detail}; TLS is on for some devices and off for others", fix)
    if down:
        fix = "see cables and optics; a run on this host alone needs none of them"
        return warning("links", f"{detail}; down: {', '.join(map(str, down))}", fix)
    if sick:
        fix = "`hccn_tool -i N -netdetect -s address IP` names what has to answer; see the switch"
        return warning("links", f"{detail}; network health of device {', '.join(sick)}", fix)
    return good("links", detail)
