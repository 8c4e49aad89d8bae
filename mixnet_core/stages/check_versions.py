"""Checks of the software under MindSpore: driver, firmware and CANN, each and together."""

from __future__ import annotations

from pathlib import Path

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
from mixnet_core.stages.check_ascend import INTO_CONTAINER, NONE_HERE, TARGET, Chips
from mixnet_core.stages.check_result import CheckResult, absent, failed, good, unknown, warning


def check_driver(installed: Installed, chips: Chips) -> CheckResult:
    """Checks that driver and firmware are of versions that work together, as the driver says."""
    driver = installed.driver or (chips.info.driver if chips.info else None)
    running = chips.board.get("Firmware Version")
    firmware = running or installed.firmware
    if driver is None:
        return absent("driver", NONE_HERE)
    detail = f"driver {driver}, firmware {firmware or 'unknown'}"
    matching = f"install the firmware of Ascend HDK {driver}, then reboot"
    said = chips.board.get("Compatibility")
    if said == "NOK":
        return failed("driver", f"{detail}: npu-smi says that they do not fit", matching)
    if firmware is None:
        return unknown("driver", detail, INTO_CONTAINER)
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
            return absent("cann", NONE_HERE)
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
        return absent("set", f"{NONE_HERE}; mindspore {installed.mindspore} runs on the CPU")
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
