"""Requests to the Prefect server that fail at once, where its client would wait for a minute.

And what it means that one failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.context import SyncClientContext
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

_REQUEST_SECONDS = 10.0


@contextmanager
def impatient() -> Iterator[None]:
    """Has Prefect's clients in the block send each request once, for ten seconds."""
    settings = {
        PREFECT_CLIENT_MAX_RETRIES: 0,
        PREFECT_API_REQUEST_TIMEOUT: _REQUEST_SECONDS,
    }
    with temporary_settings(settings), _impatient_context():
        yield


def server_is_away(error: BaseException | None) -> bool:
    """Tells whether a request failed because nothing answered, or what answered was not well."""
    while error is not None:
        if isinstance(error, httpx.TransportError):
            return True
        if isinstance(error, (httpx.HTTPStatusError, PrefectHTTPStatusError)):
            return error.response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _impatient_context() -> Iterator[None]:
    """Has the client of this flow or task run do so too: it was made with a minute for each."""
    context = SyncClientContext.get()
    if context is None:
        yield
        return
    client = context.client._client
    before, client.timeout = client.timeout, httpx.Timeout(_REQUEST_SECONDS)
    try:
        yield
    finally:
        client.timeout = before
