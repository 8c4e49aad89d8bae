"""What the set-up leaves as it is, and what it says of a server that refuses it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from mixnet_flows.infra import setup


class Limit:
    """A server's one limit, as its client reads and changes it."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit

    def read_global_concurrency_limit_by_name(self, _: str) -> Limit:
        if self.limit is None:
            raise ObjectNotFound(Exception("404"))
        return self

    def upsert_global_concurrency_limit_by_name(self, _: str, limit: int) -> None:
        self.limit = limit


@pytest.mark.parametrize(
    ("before", "given", "after"), [(16, None, 16), (None, None, 8), (16, 4, 4), (None, 4, 4)]
)
def test_how_many_accelerators_there_are_stays_as_somebody_set_it(
    before: int | None, given: int | None, after: int
) -> None:
    server = Limit(before)
    assert setup.set_up_accelerators(server, given) == after  # type: ignore[arg-type]
    assert server.limit == after


@contextmanager
def answering(code: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_PATCH = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        (401, 2, "set PREFECT_API_AUTH_STRING to its USER:PASSWORD"),
        (500, 7, "see the server's log"),
    ],
)
def test_a_server_that_refuses_is_one_line(
    code: int,
    exit_code: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["setup"])
    with (
        answering(code) as url,
        temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
    ):
        assert setup.main() == exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"the Prefect server at {url} answers {code}: {words}"
