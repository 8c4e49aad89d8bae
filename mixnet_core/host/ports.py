"""Which ports of this machine are free for what a run opens."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path

from mixnet_core.errors import InputError

_IPV4 = Path("/proc/sys/net/ipv4")
# hiascend.com, environment variable HCCL_IF_BASE_PORT: 60000, and 16 ports from it up to CANN 8.3,
# 32 from CANN 8.5 on; 1024 to 65520.
_HCCL_BASE, _HCCL_PORTS = 60000, 32
_FIRST_BASE, _LAST_BASE = 1024, 65520
_PORTS = 65536
BASE_VARIABLE = "HCCL_IF_BASE_PORT"
RANGE_VARIABLE = "HCCL_HOST_SOCKET_PORT_RANGE"


def hccl_ports(environment: Mapping[str, str]) -> range | None:
    """Returns the ports that HCCL takes on the host; None: another variable rules them.

    Raises:
        InputError: the variable names no port that HCCL takes.
    """
    if environment.get(RANGE_VARIABLE):
        return None
    text = environment.get(BASE_VARIABLE, "") or str(_HCCL_BASE)
    base = int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
    if not _FIRST_BASE <= base <= _LAST_BASE:
        raise InputError(
            f"{BASE_VARIABLE} names no port that HCCL takes: expected a port from {_FIRST_BASE} to "
            f"{_LAST_BASE}, or unset it for {_HCCL_BASE}"
        )
    return range(base, min(base + _HCCL_PORTS, _PORTS))


def taken(ports: range) -> list[int]:
    """Lists those that another process listens on, on any address of this machine."""
    found = []
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            # As servers do, so that connections that ended lately do not count.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("", port))
                trial.listen()
            except OSError:
                found.append(port)
    return found


def handed_out(folder: Path = _IPV4) -> range | None:
    """Returns the ports that the kernel gives to whoever asks for any; None: it does not say."""
    numbers = _text(folder / "ip_local_port_range").split()
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        return None
    return range(int(numbers[0]), int(numbers[1]) + 1)


def reserved(folder: Path = _IPV4) -> str:
    """Returns the ports that it never gives out so, as "60000-60031,8080"."""
    return _text(folder / "ip_local_reserved_ports")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
