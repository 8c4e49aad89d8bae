"""What a failed request says of the server."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.exceptions import ObjectNotFound

from mixnet_flows import guarded


def failure(code: int | None) -> Exception:
    if code is None:
        return httpx.ConnectError("refused")
    request = httpx.Request("GET", "http://host/api")
    response = httpx.Response(code, request=request)
    return httpx.HTTPStatusError(str(code), request=request, response=response)


@pytest.mark.parametrize(("code", "waits"), [(None, True), (503, True), (404, False), (401, False)])
def test_a_run_that_is_done_waits_for_a_server_that_is_away_and_for_no_deleted_run(
    code: int | None, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Client:
        def read_flow_run(self, _: UUID) -> NoReturn:
            error = failure(code)
            if code == 404:
                raise ObjectNotFound(error) from error
            raise error

    @contextmanager
    def client() -> Iterator[Client]:
        yield Client()

    monkeypatch.setattr(guarded, "_impatient_client", client)
    monkeypatch.setattr(guarded, "_WAIT_SECONDS", 0.5)
    monkeypatch.setattr(guarded, "_WAIT_POLL_SECONDS", 0.1)
    began = time.monotonic()
    guarded._wait_for_server(uuid4(), logging.getLogger("test"))
    assert (time.monotonic() - began > 0.4) == waits
