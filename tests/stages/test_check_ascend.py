"""The tools stand in for Ascend's: they print what is published of the real ones' output."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mixnet_core.host import command, hccn
from mixnet_core.host.installed import Installed, read_installed
from mixnet_core.host.npu_smi import parse_fields, parse_info
from mixnet_core.stages import check_ascend
from mixnet_core.stages.check_ascend import (
    Chips,
    check_cann,
    check_devices,
    check_driver,
    check_links,
    check_set,
)
from mixnet_core.stages.check_result import CheckResult
from tests.host.tools import put_ascend, put_program, sample
from tests.stages.checking import failure

TWO = "info-24.1.1-910b4.txt"
NOTHING = Path("/nowhere")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of PATH for programs; nothing of Ascend's is found elsewhere."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(command, "_FOLDERS", ())
    return folder


def put_npu_smi(tools: Path, info: str, *, board: str = "", health: str = "") -> None:
    answers = {"info -t board -i": board, "info -t health": health, "info": info}
    put_program(tools, "npu-smi", {words: text for words, text in answers.items() if text})


def devices(
    target: str | None = None,
    ranks: int = 1,
    dev: Path = NOTHING,
    environment: Mapping[str, str] | None = None,
) -> tuple[Chips, CheckResult]:
    return check_devices(target, ranks, dev=dev, environment=environment or {})


def test_without_ascends_tools_there_is_nothing_to_check(tools: Path) -> None:
    chips, result = devices()
    assert (result.note, result.detail) == ("absent", "no Ascend tools here")
    assert check_driver(Installed(), chips).note == "absent"
    assert check_cann(Installed(mindspore="2.10.0"), None).note == "absent"
    assert check_set(Installed(mindspore="2.10.0"), "CPU").note == "absent"
    assert check_links(chips).note == "absent"


def test_a_recipe_for_ascend_demands_them(tools: Path) -> None:
    assert "no npu-smi" in str(failure(devices("Ascend")[1]))
    assert "no CANN toolkit found" in str(failure(check_cann(Installed(), "Ascend")))


def test_a_container_that_has_devices_but_no_tool_is_told_what_to_mount(
    tools: Path, tmp_path: Path
) -> None:
    for number in range(2):
        (tmp_path / f"davinci{number}").touch()
    (tmp_path / "davinci_manager").touch()
    _, result = devices(dev=tmp_path)
    assert result.note == "unknown"
    assert "2 devices" in result.detail
    assert "/usr/local/bin/npu-smi" in result.fix


def test_devices_that_are_well_are_counted_and_named(tools: Path) -> None:
    put_npu_smi(tools, sample(TWO))
    _, result = devices("Ascend", 2)
    assert (result.ok, result.note, result.detail) == (True, "", "2 x 910B4, all OK")


def test_more_ranks_than_devices_fail_before_the_run(tools: Path) -> None:
    put_npu_smi(tools, sample(TWO))
    assert "3 ranks need 3" in str(failure(devices("Ascend", 3)[1]))
    seen = devices("Ascend", 2, environment={"ASCEND_RT_VISIBLE_DEVICES": "1"})[1]
    assert "1 of them in ASCEND_RT_VISIBLE_DEVICES" in str(failure(seen))
    assert devices("CPU", 3)[1].ok


@pytest.mark.parametrize(
    ("health", "ends"), [("Warning", False), ("Alarm", True), ("Critical", True), ("UNKNOWN", True)]
)
def test_a_device_that_is_not_well_is_named_with_its_code(
    tools: Path, health: str, ends: bool
) -> None:
    text = sample(TWO).replace(
        "| 1     910B4               | OK           ", f"| 1     910B4               | {health:<13}"
    )
    put_npu_smi(tools, text, health=sample("health-warning.txt"))
    _, result = devices("Ascend", 2)
    assert result.ok is not ends
    assert result.note == ("" if ends else "warning")
    assert f"{health} of NPU 1 chip 0" in result.detail
    assert result.more == ("NPU 1 chip 0: 80E01801 node type=SOC, sensor type=Temperature",)
    if ends:
        assert "ASCEND_RT_VISIBLE_DEVICES=0" in str(failure(result))
        left_out = devices("Ascend", 1, environment={"ASCEND_RT_VISIBLE_DEVICES": "0"})[1]
        assert (left_out.ok, left_out.note) == (True, "warning")


def test_devices_that_others_use_are_named_with_who_does(tools: Path) -> None:
    put_npu_smi(tools, sample("info-25.2.2-910b4.txt"))
    _, result = devices("Ascend", 2)
    assert result.note == "warning"
    assert "in use: 0,1" in result.detail
    assert result.more[1] == "NPU 1 chip 0: process 19341 (VLLMWorker_TP)"


@pytest.mark.parametrize("named", ["0,2", "-1", "all", "0,,1"])
def test_a_visible_device_that_is_not_there_fails(tools: Path, named: str) -> None:
    put_npu_smi(tools, sample(TWO))
    _, result = devices(environment={"ASCEND_RT_VISIBLE_DEVICES": named})
    assert "there are 0 to 1" in str(failure(result))


def test_where_a_card_is_gone_the_others_may_go_by_their_own_numbers(tools: Path) -> None:
    put_npu_smi(tools, sample("info-23.0.5.txt"))
    for named in ("7", "1", "0,7"):
        assert devices("Ascend", environment={"ASCEND_RT_VISIBLE_DEVICES": named})[1].ok


@pytest.mark.parametrize(
    ("name", "words", "fix"),
    [
        ("info-failed.txt", "cannot reach the driver", "reboot"),
        ("info-used.txt", "another container holds the devices", "end it"),
    ],
)
def test_an_npu_smi_that_cannot_start_says_why(
    tools: Path, name: str, words: str, fix: str
) -> None:
    put_program(tools, "npu-smi", {}, otherwise=f"echo '{sample(name)}'; exit 1")
    _, result = devices("Ascend", 1)
    assert words in str(failure(result))
    assert fix in result.fix
    # Without a recipe nobody says that Ascend is wanted.
    assert devices()[1].note == "warning"


def test_an_npu_smi_that_hangs_is_ended(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_program(tools, "npu-smi", {}, otherwise="sleep 600")
    monkeypatch.setattr(check_ascend, "SECONDS", 1.0)
    assert "npu-smi does not answer" in str(failure(devices("Ascend")[1]))


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


def put_hccn_tool(tools: Path, **answers: str) -> None:
    """Answers of device 0, then of all others."""
    link, net_health, tls = (
        answers.get(name, sample(f"{name.replace('_', '-')}.txt"))
        for name in ("link", "net_health", "tls")
    )
    put_program(
        tools,
        "hccn_tool",
        {
            "-i 0 -link -g": sample("link.txt"),
            "-i 0 -net_health -g": sample("net-health.txt"),
            "-i 0 -tls -g": sample("tls.txt"),
            "-i 1 -link -g": link,
            "-i 1 -net_health -g": net_health,
            "-i 1 -tls -g": tls,
        },
    )


@pytest.mark.parametrize("info", [TWO, "info-26.0.rc2-a3.txt"])
def test_links_are_asked_for_by_device(tools: Path, info: str) -> None:
    chips = Chips(parse_info(sample(info)))
    assert check_links(chips).note == "unknown"
    put_hccn_tool(tools)
    assert (check_links(chips).note, check_links(chips).detail) == ("", "2 of 2 up")
    put_hccn_tool(tools, link=sample("link-down.txt"))
    assert "1 of 2 up; down: 1" in check_links(chips).detail
    put_hccn_tool(tools, net_health=sample("net-health-fault.txt"))
    assert "network health of device 1 (Fault)" in check_links(chips).detail
    put_hccn_tool(tools, tls=sample("tls.txt").replace("switch[0]", "switch[1]"))
    result = check_links(chips)
    assert (result.ok, result.note) == (True, "warning")
    assert "TLS is on for some devices" in result.detail


def test_a_hccn_tool_that_may_not_or_hangs_leaves_links_unknown(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips = Chips(parse_info(sample(TWO)))
    put_program(tools, "hccn_tool", {}, otherwise="echo permission denied; exit 1")
    assert check_links(chips).note == "unknown"
    assert "permission denied" in check_links(chips).detail
    put_program(tools, "hccn_tool", {}, otherwise="sleep 600")
    monkeypatch.setattr(check_ascend, "LINK_SECONDS", 1.0)
    assert check_links(chips).detail == "hccn_tool does not answer"
    one = Chips(replace(parse_info(sample(TWO)), chips=chips.all[:1]))  # type: ignore[type-var]
    assert check_links(one).note == "absent"
    assert hccn.Port(0).up is None
