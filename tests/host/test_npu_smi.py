from __future__ import annotations

import pytest

from mixnet_core.host.npu_smi import Chip, parse_fields, parse_info, refusal
from tests.host.tools import sample


@pytest.mark.parametrize(
    ("name", "driver", "chips"),
    [
        ("info-23.0.0-310.txt", "23.0.0", [Chip(0, 0, "310", "OK", 0, "0000:01:00.0")]),
        (
            "info-23.0.5.txt",
            "23.0.5",
            [
                Chip(0, 0, "xxx", "OK", None, "0000:61:00.0"),
                Chip(7, 0, "xxx", "OK", None, "0000:3d:00.0"),
            ],
        ),
        (
            "info-24.1.1-910b4.txt",
            "24.1.1",
            [
                Chip(0, 0, "910B4", "OK", None, "0000:c1:00.0"),
                Chip(1, 0, "910B4", "OK", None, "0000:c2:00.0"),
            ],
        ),
        ("info-25.2.0.txt", "25.2.0", [Chip(0, 0, "xxx", "OK", 0, None)]),
        (
            "info-25.2.2-910b4.txt",
            "25.2.2",
            [
                Chip(0, 0, "910B4-1", "OK", None, "0000:0e:00.0", {19334: "VLLMWorker_TP"}),
                Chip(1, 0, "910B4-1", "OK", None, "0000:0f:00.0", {19341: "VLLMWorker_TP"}),
            ],
        ),
        (
            "info-26.0.rc2-a3.txt",
            "26.0.rc2",
            [
                Chip(0, 0, "Ascend910", "OK", 0, "0000:9d:00.0"),
                Chip(0, 1, "Ascend910", "OK", 1, "0000:9f:00.0"),
            ],
        ),
    ],
)
def test_the_table_is_read_in_every_published_form(
    name: str, driver: str, chips: list[Chip]
) -> None:
    info = parse_info(sample(name))
    assert info is not None
    assert (info.driver, list(info.chips)) == (driver, chips)


@pytest.mark.parametrize("health", ["Warning", "Alarm", "Critical", "UNKNOWN"])
def test_a_devices_health_is_the_word_that_stands_there(health: str) -> None:
    text = sample("info-24.1.1-910b4.txt")
    ill = text.replace(
        "| 1     910B4               | OK           ", f"| 1     910B4  | {health:<13}"
    )
    info = parse_info(ill)
    assert info is not None
    assert [chip.health for chip in info.chips] == ["OK", health]


@pytest.mark.parametrize("text", ["", "command not found", "NPU | Health", "|\n||\n|||\n| 0 |"])
def test_what_is_no_table_has_no_devices(text: str) -> None:
    info = parse_info(text)
    assert info is None or info.chips == ()


def test_a_table_that_was_cut_has_its_whole_devices_only() -> None:
    text = sample("info-24.1.1-910b4.txt")
    for end in range(len(text)):
        info = parse_info(text[:end])
        if info is not None:
            assert [chip.npu for chip in info.chips] == list(range(len(info.chips)))


def test_board_and_health_are_read_by_name() -> None:
    board = parse_fields(sample("board-23.0.5.txt"))
    assert board["Software Version"] == "23.0.5"
    assert board["Firmware Version"] == "7.1.0.7.220"
    assert board["Compatibility"] == "OK"
    assert board["PCIe Bus Info"] == "0000:61:00.0"
    assert "Class ID" not in board
    assert parse_fields(sample("chip-board-23.0.5.txt"))["Firmware Version"] == "7.1.0.7.220"
    assert parse_fields(sample("health-ok.txt")) == {"Health Status": "OK"}
    assert parse_fields(sample("health-of-card.txt"))["Health"] == "OK"
    card = sample("health-of-card.txt").replace(": OK", ": Alarm", 1)
    # The second one is the controller's.
    assert parse_fields(card)["Health"] == "Alarm"
    ill = parse_fields(sample("health-warning.txt"))
    assert ill["Error Code"] == "80E01801"
    assert ill["Error Information"] == "node type=SOC, sensor type=Temperature"


def test_why_npu_smi_could_not_start_is_a_number() -> None:
    assert refusal(sample("info-failed.txt")) == -8005
    assert refusal(sample("info-used.txt")) == -8020
    assert refusal(sample("info-25.2.0.txt")) is None
