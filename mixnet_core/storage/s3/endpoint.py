"""Where requests go, and answers that send them elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from mixnet_core.errors import InputError
from mixnet_core.storage import tls
from mixnet_core.storage.uris import shown

REDIRECTS = {301, 302, 303, 307, 308}


@dataclass(frozen=True)
class Endpoint:
    """Says where a client sends its requests, without the user's part, which would be a secret.

    Attributes:
        scheme: http or https.
        address: host, with the port if the URL has one.
    """

    scheme: str
    address: str

    @classmethod
    def of(cls, url: str) -> Endpoint:
        """Takes the parts of an endpoint's URL that may be said, whatever letters are in others."""
        scheme, _, rest = url.rpartition("://")
        return cls(scheme.lower(), rest.rpartition("@")[2].partition("/")[0])

    def __str__(self) -> str:
        return self.address

    def expects_tls(self) -> bool:
        """Tells whether it speaks TLS although its URL begins with http."""
        if self.scheme != "http":
            return False
        try:
            parts = urlsplit(f"//{self.address}")
            host, port = parts.hostname, parts.port or 80
        except ValueError:
            return False
        return host is not None and tls.speaks_tls(host, port)


def refuse_redirect(response: Any, endpoint: Endpoint, uri: str) -> None:
    """Refuses an answer that sends elsewhere; one that names a bucket's region is let pass.

    botocore would ask for the bucket's region, be sent elsewhere again, and never end; with a
    region it asks that one.

    Args:
        response: as botocore's event `needs-retry` has it: the HTTP response and what was read of
            it, or None.

    Raises:
        InputError: with the new address.
    """
    if response is None or response[0].status_code not in REDIRECTS:
        return
    headers = response[0].headers
    error = response[1].get("Error", {})
    if headers.get("x-amz-bucket-region") or error.get("Region"):
        return
    raise _redirected(response[0].status_code, headers.get("location", ""), endpoint, uri)


def refuse_page(response: Any, operation: str, endpoint: Endpoint, uri: str) -> None:
    """Refuses a page of a web server's in place of S3's own answer; an object may be a page.

    Args:
        response: as `refuse_redirect`.
        operation: S3's name of what was asked.

    Raises:
        InputError: it is a page.
    """
    if response is None or operation in ("GetObject", "HeadObject"):
        return
    kind = response[0].headers.get("content-type") or ""
    if response[0].status_code == 200 and kind.startswith("text/html"):
        raise no_s3(endpoint, uri)


def no_s3(where: object, uri: str) -> InputError:
    """Returns what to raise where something else listens than an S3 service."""
    return InputError(
        f"{where} does not answer for {uri} as an S3 service does: correct AWS_ENDPOINT_URL_S3"
    )


def _redirected(status: int, location: str, endpoint: Endpoint, uri: str) -> InputError:
    target = _address(location, endpoint)
    if target is None:
        return InputError(
            f"{endpoint} redirects {uri} ({status}) without saying where: correct "
            "AWS_ENDPOINT_URL_S3"
        )
    if target == f"{endpoint.scheme}://{endpoint.address}":
        return no_s3(endpoint, uri)
    return InputError(
        f"{endpoint} redirects {uri} to {target} ({status}): set AWS_ENDPOINT_URL_S3 to the S3 "
        "service's address there"
    )


def _address(location: str, endpoint: Endpoint) -> str | None:
    """Returns scheme, host and port of a redirect's target: its path may be signed."""
    try:
        parts = urlsplit(urljoin(f"{endpoint.scheme}://{endpoint.address}/", location))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if not location or parts.scheme not in ("http", "https"):
        return None
    if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9a-f:.]+", host):
        return None
    host = f"[{host}]" if ":" in host else host
    return shown(f"{parts.scheme}://{host}{f':{port}' if port else ''}")
