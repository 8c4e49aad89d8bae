"""Who may open the dashboard: user and password of Prefect's basic authentication.

Prefect itself serves any address without a password, and who reaches the API starts processes on
every worker. So a server that others can reach has one, or does not start.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

from mixnet_core.errors import InputError
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import shown

VARIABLE = "MIXNET_PASSWORD"
_EXPECTED = "expected USER:PASSWORD in one line of ASCII letters"


def password_of(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Returns USER:PASSWORD from a file or the environment; None where neither has one.

    Raises:
        InputError: the file is not there or is read by others; what it holds is no such pair.
        MachineError: the file cannot be read.
    """
    if file is None:
        given = environment.get(VARIABLE)
        return _checked(given, VARIABLE) if given else None
    name = shown(str(file))
    if not file.is_file():
        # Not quoted: people may have given the password itself.
        raise InputError("--password-file names no file: expected one that holds USER:PASSWORD")
    with os_errors_explained(file, "read"):
        if file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise InputError(f"others can read the password in {name}: chmod 600 {name}")
        content = file.read_bytes()
    # What is no ASCII becomes what is refused.
    return _checked(content.decode("ascii", errors="replace"), name)


def require_password(host: str, password: str | None) -> None:
    """Refuses to serve others without a password.

    Raises:
        InputError: `host` is no address of this machine, or more than loopback and no password.
    """
    if password is None and not is_loopback(host):
        raise InputError(
            f"--host {shown(host)} is reached from other machines: expected USER:PASSWORD in "
            f"--password-file FILE or {VARIABLE}, or --host 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Tells whether only this machine reaches an address.

    Raises:
        InputError: no such address.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM) if host else []
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise InputError(
            f"no address {shown(host) or 'in --host'} here: expected one of this machine's"
        )
    # A scope, as in fe80::1%eth0, is part of no address.
    return all(
        ipaddress.ip_address(str(place[4][0]).partition("%")[0]).is_loopback for place in found
    )


def _checked(text: str, where: str) -> str:
    pair = text.strip()
    user, separator, password = pair.partition(":")
    # Prefect compares with a function that takes nothing but ASCII: every request would be a 500.
    if not (user and separator and password and pair.isascii() and pair.isprintable()):
        raise InputError(f"no user and password in {where}: {_EXPECTED}")
    return pair
