"""Whether a port speaks TLS: what is said where an address begins with the wrong one of http(s)."""

from __future__ import annotations

import socket
import ssl

_SECONDS = 3.0
# OpenSSL's names of what it makes of an answer that is no TLS; they changed with its versions.
_NO_TLS = {
    "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL",
    "WRONG_VERSION_NUMBER",
}  # fmt: skip


def spoke_no_tls(error: BaseException) -> bool:
    """Tells whether a connection failed because the other side answered without TLS."""
    return any(
        isinstance(cause, ssl.SSLError) and (cause.reason or "").upper() in _NO_TLS
        for cause in causes(error)
    )


def untrusted(error: BaseException) -> str | None:
    """Returns why a certificate is not trusted; None: that is not what failed."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
    return None


def speaks_tls(host: str, port: int) -> bool:
    """Tries a handshake; nothing is sent after it.

    A certificate that is not trusted is an answer too: only TLS has one.
    """
    try:
        with (
            socket.create_connection((host, port), _SECONDS) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host),
        ):
            return True
    except ssl.SSLCertVerificationError:
        return True
    except (OSError, ValueError):
        return False


def causes(error: BaseException) -> list[BaseException]:
    """Returns an error and everything that it was raised from, or that it holds as its reason."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop()
        if not isinstance(cause, BaseException) or cause in found:
            continue
        found.append(cause)
        waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None)]
        # botocore keeps what it wraps among its words.
        waiting.append(getattr(cause, "kwargs", {}).get("error"))
        waiting += cause.args
    return found
