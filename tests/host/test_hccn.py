from __future__ import annotations

from mixnet_core.host.command import Answer
from mixnet_core.host.hccn import Port, parse_link, parse_net_health, parse_tls, read_port
from tests.host.tools import sample


def test_published_answers_are_read() -> None:
    assert parse_link(sample("link.txt")) is True
    assert parse_link(sample("link-down.txt")) is False
    assert parse_net_health(sample("net-health.txt")) == "Success"
    assert parse_net_health(sample("net-health-fault.txt")) == "Fault"
    assert parse_net_health("net health status: Receive timeout\n") == "Receive timeout"
    assert parse_tls(sample("tls.txt")) is False
    assert parse_tls(sample("tls.txt").replace("switch[0]", "switch[1]")) is True


def test_what_is_no_answer_is_unknown() -> None:
    for text in ("", "Cmd Error!", "permission denied", "status: UP and more"):
        assert parse_link(text) is None
        assert parse_net_health(text) is None
        assert parse_tls(text) is None


def test_a_tool_that_hangs_is_not_asked_again() -> None:
    asked = []

    def ask_tool(words: list[str]) -> Answer:
        asked.append(words)
        return Answer("said", sample("link.txt")) if len(asked) == 1 else Answer("hung", "")

    port, last = read_port(3, ask_tool)
    assert port == Port(3, up=True)
    assert last.how == "hung"
    assert asked == [["-i", "3", "-link", "-g"], ["-i", "3", "-net_health", "-g"]]
