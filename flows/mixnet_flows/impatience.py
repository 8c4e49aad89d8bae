"""Requests to the Prefect server that fail at once, where its client would wait for a minute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

_REQUEST_SECONDS = 10.0


@contextmanager
def impatient() -> Iterator[None]:
    """Has Prefect's clients that are made in the block send each request once, for ten seconds."""
    settings = {
        PREFECT_CLIENT_MAX_RETRIES: 0,
        PREFECT_API_REQUEST_TIMEOUT: _REQUEST_SECONDS,
    }
    with temporary_settings(settings):
        yield
