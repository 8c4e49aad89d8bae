"""One file from a URL into a path on this machine, tried again while that may help.

Nothing is verified here but completeness: whether the bytes are the right ones is the caller's.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import random
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import certifi
import urllib3

from mixnet_core.errors import InputError, MachineError, MixnetError, TransientError
from mixnet_core.storage import tls
from mixnet_core.storage.open import open_object
from mixnet_core.storage.storage import CHUNK_BYTES, OnBytes
from mixnet_core.storage.uris import holds_credentials, shown, shown_words

# The wait before attempt n + 1 is a random 50 to 100 % of BACKOFF_SECONDS * 2 ** (n - 1).
BACKOFF_SECONDS = 1.0
MAX_WAIT_SECONDS = 60.0
"""Also for Retry-After: a server that asks for more gets an earlier, possibly failing attempt."""
MAX_REDIRECTS = 5

_TIMEOUT = urllib3.Timeout(connect=10, read=60)
# For a question that a person waits for.
_CHECK_TIMEOUT = urllib3.Timeout(connect=5, read=10)
_PASSING = {408, 425, 429}
_REDIRECTS = {301, 302, 303, 307, 308}

log = logging.getLogger(__name__)


def transfer(url: str, target: Path, *, attempts: int, on_bytes: OnBytes | None = None) -> str:
    """Writes what is at `url` to `target`, over what is there: give a path aside.

    TLS certificates are always verified, against this machine's store and certifi's, or those in
    SSL_CERT_FILE and SSL_CERT_DIR alone if set. The environment's proxy is used, not to loopback.

    Args:
        url: as `check_url` takes it.
        attempts: how often to try in all, at least 1.
        on_bytes: told of progress; its counts start again with each attempt.

    Returns:
        Hex sha256 of what was written.

    Raises:
        InputError: an unusable URL, or the server has or gives nothing at it.
        MachineError: an untrusted certificate, no credentials for s3.
        TransientError: no complete answer in `attempts` attempts.
        OSError: `target` cannot be written.
    """
    check_url(url)
    if urlsplit(url).scheme in ("file", "s3"):
        storage, key = open_object(url)
        return storage.download(key, target, on_bytes)
    for attempt in range(1, attempts + 1):
        try:
            return _once(url, target, on_bytes)
        except _Passing as error:
            if attempt == attempts:
                raise TransientError(
                    f"cannot fetch {shown(url)}: {error}, {attempts} attempts in all; check the "
                    "network or try again later"
                ) from error
            wait = error.wait
            if wait is None:
                wait = BACKOFF_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1)
            wait = min(wait, MAX_WAIT_SECONDS)
            log.warning(
                "fetching %s: %s; attempt %d of %d in %.1f s",
                shown(url), error, attempt + 1, attempts, wait,
            )  # fmt: skip
            time.sleep(wait)
    raise InputError(f"attempts is {attempts}: expected at least 1")


def check_served(url: str) -> None:
    """Asks, for no content, whether `storage.transfer` would get an answer.

    What a server answers to GET counts, as some know no HEAD.

    Raises:
        InputError, MachineError: as `storage.transfer`.
        TransientError: no answer, or one that may be another later.
    """
    check_url(url)
    if urlsplit(url).scheme in ("file", "s3"):
        storage, key = open_object(url)
        if not storage.exists(key):
            raise InputError(f"nothing at {shown(url)}: check the URL")
        return
    try:
        try:
            with _answer("HEAD", url, _CHECK_TIMEOUT):
                return
        except (InputError, _Passing):
            # Many servers know GET only, and say so by whatever status. Its content is not read.
            with _answer("GET", url, _CHECK_TIMEOUT):
                pass
    except _Passing as error:
        raise TransientError(
            f"cannot fetch {shown(url)}: {error}; check the network or try again later"
        ) from error


def check_url(url: str) -> None:
    """Makes sure that a URL is one to fetch from: https, file or s3; http only on this machine.

    Raises:
        InputError: it is not.
    """
    if holds_credentials(url):
        raise InputError(f"{shown(url)} holds credentials: remove them, they end up in logs")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"{shown(url)} is no URL: {shown_words(str(error))}") from None
    if parts.scheme in ("file", "s3"):
        open_object(url)
        return
    if parts.scheme not in ("https", "http") or not host:
        raise InputError(
            f"{shown(url)} is no URL to fetch from: expected https://, file:// or s3://"
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise InputError(
            f"{shown(url)} is not encrypted: expected https://, plain http only on this machine"
        )


class _Shown(logging.Filter):
    """Hides what urllib3 quotes in a warning: a URL that a server redirected to, with its query."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = shown_words(record.getMessage()), ()
        # Its text repeats what the server sent.
        record.exc_info = record.exc_text = None
        return True


logging.getLogger("urllib3.connection").addFilter(_Shown())


class _Passing(Exception):
    """Says that an attempt failed in a way that may pass.

    Attributes:
        wait: seconds that the server asks for; None: it does not.
    """

    def __init__(self, cause: str, wait: float | None = None) -> None:
        super().__init__(cause)
        self.wait = wait


def _once(url: str, target: Path, on_bytes: OnBytes | None) -> str:
    digest, done = hashlib.sha256(), 0
    with _answer("GET", url) as answer:
        length = answer.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        with target.open("wb") as out:
            # Not decoded: a server may declare a file that is stored compressed to be an encoding.
            for chunk in answer.stream(CHUNK_BYTES, decode_content=False):
                out.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if on_bytes is not None:
                    on_bytes(done, total)
    return digest.hexdigest()


@contextmanager
def _answer(
    method: str, url: str, timeout: urllib3.Timeout = _TIMEOUT
) -> Iterator[urllib3.BaseHTTPResponse]:
    """Yields the answer with status 200, whose body is still to be read in the block."""
    try:
        with _client(url) as client, closing(_request(client, method, url, timeout)) as answer:
            yield answer
    except urllib3.exceptions.HTTPError as error:
        raise _explained(url, error) from None


def _request(
    client: urllib3.PoolManager, method: str, url: str, timeout: urllib3.Timeout
) -> urllib3.BaseHTTPResponse:
    target = url
    for _ in range(MAX_REDIRECTS + 1):
        answer = client.request(
            method, target, headers={"Accept-Encoding": "identity"}, timeout=timeout,
            # Repeating is done above, redirects below: each target must pass check_url.
            retries=False, redirect=False, preload_content=False,
        )  # fmt: skip
        if answer.status == 200:
            return answer
        answer.close()
        if answer.status in _PASSING or answer.status >= 500:
            raise _Passing(f"it answered {answer.status}", _retry_after(answer))
        location = answer.headers.get("Location")
        if answer.status not in _REDIRECTS or not location:
            raise InputError(f"{shown(url)} answered {answer.status}, expected 200: check the URL")
        try:
            target = urljoin(target, location)
            scheme = urlsplit(target).scheme
        except ValueError:
            raise InputError(f"{shown(url)} redirects to no URL: check the URL") from None
        if scheme not in ("https", urlsplit(url).scheme):
            raise InputError(f"{shown(url)} redirects to {shown(target)}: expected https://")
        check_url(target)
    raise InputError(f"{shown(url)} redirects more than {MAX_REDIRECTS} times: check the URL")


def _retry_after(answer: urllib3.BaseHTTPResponse) -> float | None:
    """Returns the seconds that either form of the header asks for; None: neither is there."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _client(url: str) -> urllib3.PoolManager:
    context = urllib3.util.ssl_.create_urllib3_context()
    context.load_default_certs()
    if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        # A slim image may have no store of its own.
        context.load_verify_locations(certifi.where())
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or _is_loopback(parts.hostname or "") or urllib.request.proxy_bypass(parts.netloc):
        return urllib3.PoolManager(ssl_context=context)
    try:
        return urllib3.ProxyManager(proxy, ssl_context=context)
    except (urllib3.exceptions.HTTPError, ValueError):
        # Not quoted: a proxy's URL can hold a password.
        raise InputError(
            f"the environment's {parts.scheme}_proxy is no usable URL: expected http://host:port"
        ) from None


def _explained(url: str, error: urllib3.exceptions.HTTPError) -> MixnetError | _Passing:
    untrusted = tls.untrusted(error)
    if untrusted is not None:
        return MachineError(
            f"cannot fetch {shown(url)}: its TLS certificate is not trusted "
            f"({untrusted}); set SSL_CERT_FILE to your network's certificates"
        )
    if tls.spoke_no_tls(error):
        return InputError(
            f"cannot fetch {shown(url)}: its port does not speak TLS; correct the URL's port"
        )
    for cause in tls.causes(error):
        if isinstance(cause, urllib3.exceptions.IncompleteRead):
            return _Passing(f"it ended after {cause.partial} bytes, {cause.expected} were missing")
    # Kinds, not texts: those repeat the whole URL.
    return _Passing(f"the connection failed ({type(error).__name__})")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
