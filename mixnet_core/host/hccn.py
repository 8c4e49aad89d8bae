"""Reads what `hccn_tool` prints of a device's network port.

    hccn_tool -i 0 -link -g         link status: UP
    hccn_tool -i 0 -net_health -g   net health status: Success
    hccn_tool -i 0 -tls -g          dev_id:0, tls switch[0](0:disable, 1:enable), ...

Sources: HCCN Tool reference and MindCluster's user guide at hiascend.com.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mixnet_core.host.command import Answer

_LINK = re.compile(r"^link status:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_HEALTH = re.compile(r"^net health status:\s*(\S.*?)\s*$", re.IGNORECASE | re.MULTILINE)
_TLS = re.compile(r"\btls switch\[(\d)\]", re.IGNORECASE)


@dataclass(frozen=True)
class Port:
    """Holds what is known of one device's port; None: the tool did not say.

    Attributes:
        device: as hccn_tool takes it.
        up: whether there is a link.
        health: such as Success, Fault, Receive timeout; of the way to the address that
            `-netdetect` is set to.
        tls: whether connections are encrypted; both ends must agree.
    """

    device: int
    up: bool | None = None
    health: str | None = None
    tls: bool | None = None


def parse_link(text: str) -> bool | None:
    """Reads `-link -g`."""
    found = _LINK.search(text)
    return None if found is None else found[1].upper() == "UP"


def parse_net_health(text: str) -> str | None:
    """Reads `-net_health -g`."""
    found = _HEALTH.search(text)
    return None if found is None else found[1]


def parse_tls(text: str) -> bool | None:
    """Reads `-tls -g`."""
    found = _TLS.search(text)
    return None if found is None else found[1] == "1"


def read_port(device: int, ask_tool: Callable[[list[str]], Answer]) -> tuple[Port, Answer]:
    """Asks for all of one device.

    Returns:
        What is known, and the tool's last answer: one that hung is not asked again.
    """
    texts: list[str] = []
    answer = Answer("failed", "")
    for option in ("-link", "-net_health", "-tls"):
        answer = ask_tool(["-i", str(device), option, "-g"])
        if answer.how == "hung":
            break
        texts.append(answer.text)
    link, health, tls = [*texts, "", "", ""][:3]
    return Port(device, parse_link(link), parse_net_health(health), parse_tls(tls)), answer
