"""Checks of Ascend's devices and of the links between them, by what Ascend's tools say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mixnet_core.errors import visible
from mixnet_core.host import hccn, npu_smi
from mixnet_core.host.command import SECONDS, Answer, ask, find_program
from mixnet_core.host.npu_smi import Chip, Info
from mixnet_core.stages.check_result import CheckResult, absent, failed, good, unknown, warning

# Of one question to hccn_tool or for one device's health: there are many.
LINK_SECONDS = 5.0
VISIBLE_VARIABLE = "ASCEND_RT_VISIBLE_DEVICES"
NONE_HERE = "no Ascend tools here"
TARGET = "Ascend"
INTO_CONTAINER = (
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
            return Chips(), failed("devices", f"{NONE_HERE}: no npu-smi", INTO_CONTAINER)
        if files:
            detail = f"{len(files)} devices in {dev}, but no npu-smi to ask for their health"
            return Chips(), unknown("devices", detail, INTO_CONTAINER)
        return Chips(), absent("devices", NONE_HERE)
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
            + INTO_CONTAINER
        )
    else:
        detail, fix = f"npu-smi lists no device: {answer.line}", INTO_CONTAINER
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


def check_links(chips: Chips) -> CheckResult:
    """Asks hccn_tool for each device's network port.

    The devices of one host talk over its own buses; the network carries runs over several hosts.
    """
    if not chips.all:
        return absent("links", NONE_HERE)
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
