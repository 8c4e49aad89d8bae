"""The tools stand in for Ascend's: they print what is published of the real ones' output."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mixnet_core.host import command, hccn
from mixnet_core.host.npu_smi import parse_info
from mixnet_core.stages import check_ascend
from mixnet_core.stages.check_ascend import Chips, check_devices, check_links
from mixnet_core.stages.check_result import CheckResult
from tests.host.tools import put_program, sample
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
    assert check_links(chips).note == "absent"


def test_a_recipe_for_ascend_demands_them(tools: Path) -> None:
    assert "no npu-smi" in str(failure(devices("Ascend")[1]))


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
