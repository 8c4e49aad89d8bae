from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mixnet_core.host.installed import Installed, read_installed
from mixnet_core.host.npu_smi import parse_fields, parse_info
from mixnet_core.stages.check_ascend import Chips
from mixnet_core.stages.check_versions import check_cann, check_driver, check_set
from tests.host.tools import put_ascend, sample
from tests.stages.checking import failure


def test_without_ascends_files_there_is_nothing_to_check() -> None:
    assert check_driver(Installed(), Chips()).note == "absent"
    assert check_cann(Installed(mindspore="2.10.0"), None).note == "absent"
    assert check_set(Installed(mindspore="2.10.0"), "CPU").note == "absent"
    assert "no CANN toolkit found" in str(failure(check_cann(Installed(), "Ascend")))


def installed(tmp_path: Path, driver: str = "24.1.rc3", firmware: str = "24.1.rc3") -> Installed:
    put_ascend(tmp_path, f"driver-{driver}.info", f"firmware-{firmware}.info")
    return read_installed(tmp_path, {})


def test_a_driver_says_by_itself_which_firmware_it_works_with(tmp_path: Path) -> None:
    fits = check_driver(installed(tmp_path), Chips())
    assert (fits.note, fits.detail) == ("", "driver 24.1.rc3, firmware 7.5.0.1.129: they fit")
    newer = installed(tmp_path, driver="24.1.rc3", firmware="25.0.rc1.1")
    message = str(failure(check_driver(newer, Chips())))
    assert "the driver works with 7.0.0 to 7.5.99" in message
    assert "install the firmware of Ascend HDK 24.1.rc3, then reboot" in message
    older = check_driver(installed(tmp_path, "25.0.rc1.1", "24.1.rc3"), Chips())
    assert older.note == "warning"


def test_the_board_says_what_runs_and_whether_it_fits(tmp_path: Path) -> None:
    board = parse_fields(sample("board-23.0.5.txt"))
    info = parse_info(sample("info-23.0.5.txt"))
    result = check_driver(Installed(), Chips(info, board))
    assert (result.note, result.detail) == ("", "driver 23.0.5, firmware 7.1.0.7.220: they fit")
    wrong = Chips(info, {**board, "Compatibility": "NOK"})
    assert "they do not fit" in str(failure(check_driver(Installed(), wrong)))
    waiting = check_driver(installed(tmp_path), Chips(info, board))
    assert waiting.note == "warning"
    assert "7.5.0.1.129 is installed and does not run yet" in waiting.detail
    unseen = check_driver(Installed(), Chips(info, {}))
    assert (unseen.note, "firmware unknown" in unseen.detail) == ("unknown", True)


CARD = Installed(
    driver="24.1.0",
    firmware="7.5.0.3.220",
    cann="8.0.0.beta1",
    cann_folder="/usr/local/Ascend/ascend-toolkit/latest",
    sourced=True,
    mindspore="2.5.0",
    mindspore_takes=("7.6", "8.0"),
)


def test_cann_has_to_be_one_that_mindspore_was_made_for_and_set_up() -> None:
    assert check_cann(CARD, "Ascend").note == ""
    newer = check_cann(replace(CARD, cann="8.3.RC1"), "Ascend")
    assert newer.note == "warning"
    assert "mindspore 2.5.0 was made for 7.6, 8.0" in newer.detail
    bare = check_cann(replace(CARD, sourced=False), "Ascend")
    assert bare.note == "warning"
    assert "source /usr/local/Ascend/ascend-toolkit/set_env.sh" in bare.fix
    silent = check_cann(replace(CARD, mindspore_takes=()), "Ascend")
    assert silent.note == "unknown"


def test_a_known_set_names_its_source_and_another_is_said_not_refused() -> None:
    known = check_set(CARD, "Ascend")
    assert known.note == ""
    assert "hub card of mixnet_s" in known.detail
    other = check_set(replace(CARD, driver="24.1.rc3"), "Ascend")
    assert (other.ok, other.note) == (True, "warning")
    assert other.fix == (
        "known: mindspore 2.5.0, CANN 8.0.0.beta1, driver 24.1.0, firmware 7.5.0.3.220"
    )
    future = check_set(replace(CARD, mindspore="3.0.0"), "Ascend")
    assert (future.ok, future.note) == (True, "unknown")
    notes = replace(CARD, mindspore="2.10.0", firmware=None, cann="9.1.0", driver="25.5.1")
    assert check_set(notes, "Ascend").note == "unknown"
    against = check_set(replace(notes, driver="25.0.rc1"), "Ascend")
    assert against.note == "warning"
    assert "driver 25.0.rc1 is not for CANN 9.1.0" in against.detail
