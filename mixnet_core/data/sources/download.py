"""One verified download."""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from mixnet_core.data.sources.idx import decompressed
from mixnet_core.errors import DatasetError, DigestMismatch, MachineError, TransientError
from mixnet_core.files import file_aside

Fetch = Callable[[str, Path, str], None]
"""(url, target, sha256 of the decompressed content), as `download`."""

# `other` counts what no second try mends, such as a certificate that is not trusted.
_PASSING = (429, 500, 502, 503, 504)
_RETRY = urllib3.Retry(total=5, other=0, backoff_factor=0.5, status_forcelist=_PASSING)
_ONCE = urllib3.Retry(
    total=5, connect=0, read=0, status=0, other=0, redirect=5, status_forcelist=_PASSING
)
_TIMEOUT = urllib3.Timeout(connect=10, read=60)
_FIX = "set data.path to a folder that has the files"


def download(url: str, target: Path, sha256: str) -> None:
    """Writes the gzip file at `url` to `target` if its decompressed content has the given digest.

    Network failures are tried again for about a quarter of a minute. TLS certificates are always
    verified; the environment's proxy and SSL_CERT_FILE are honoured. The file is held in memory.

    Raises:
        TransientError: no complete answer came.
        DatasetError: the server refuses this address.
        DigestMismatch: the content is another one; nothing is left at `target`.
        MachineError: the server's certificate is not trusted, `target` cannot be written.
    """
    answer = _request("GET", url, _RETRY)
    _verify(url, answer.data, sha256)
    with file_aside(target) as aside:
        aside.write_bytes(answer.data)


def check_reachable(url: str) -> None:
    """Asks once whether the server would deliver `url`.

    Raises:
        TransientError, DatasetError, MachineError: as `download`.
    """
    _request("HEAD", url, _ONCE)


def _request(method: str, url: str, retry: urllib3.Retry) -> urllib3.BaseHTTPResponse:
    try:
        with _client(url) as client:
            # Not decoded: a server may declare a stored .gz file to be an encoding.
            answer = client.request(
                method, url, retries=retry, timeout=_TIMEOUT, decode_content=False
            )
    except urllib3.exceptions.HTTPError as error:
        raise _explained(url, error) from error
    if answer.status != 200:
        raise DatasetError(f"{url} answered {answer.status}, expected 200: {_FIX}")
    return answer


def _verify(url: str, content: bytes, sha256: str) -> None:
    try:
        actual = hashlib.sha256(decompressed(content, url)).hexdigest()
    except DatasetError:
        actual = "of no gzip file"
    if actual != sha256:
        raise DigestMismatch(
            f"{url} has content sha256 {actual}, expected {sha256}; nothing was kept: {_FIX}"
        )


def _client(url: str) -> urllib3.PoolManager:
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        return urllib3.ProxyManager(proxy)
    return urllib3.PoolManager()


def _explained(url: str, error: urllib3.exceptions.HTTPError) -> MachineError | TransientError:
    reason = getattr(error, "reason", None) or error
    text = " ".join(str(reason).split())
    if isinstance(reason, urllib3.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in text:
        return MachineError(
            f"cannot download {url}: its TLS certificate is not trusted ({text}); set "
            f"SSL_CERT_FILE to your network's certificates, or {_FIX}"
        )
    return TransientError(f"cannot download {url}: {text}; check the network, or {_FIX}")
