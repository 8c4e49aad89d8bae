"""An HTTP server on loopback whose answers a test writes down."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mixnet_core.storage import transfer

CONTENT = bytes(range(256)) * 1500


class Server(ThreadingHTTPServer):
    """Answers with `answers` and `contents` in turn, the last one of each for ever.

    An answer is a status, "cut" for half a body, or (status, headers). As a proxy it plays every
    host itself, behind the certificate in `tunnel`.
    """

    answers: list[int | str | tuple[int, dict[str, str]]]
    contents: list[bytes]
    asked: list[str]
    """Method and path of each request."""
    tunnel: ssl.SSLContext
    connections = 0

    def get_request(self) -> tuple[socket.socket, Any]:
        self.connections += 1
        return super().get_request()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.ckpt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        answers, contents = self.server.answers, self.server.contents
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        content = contents.pop(0) if len(contents) > 1 else contents[0]
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        self.server.asked.append(f"{self.command} {self.path}")
        if status not in (200, "cut"):
            # The client hangs up on these without reading on.
            content = b""
        self.send_response(200 if status == "cut" else int(status))
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[: len(content) // 2] if status == "cut" else content)

    do_HEAD = do_GET  # noqa: N815

    def do_CONNECT(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_response(200)
        self.end_headers()
        with self.server.tunnel.wrap_socket(self.connection, server_side=True) as encrypted:
            Handler(encrypted, self.client_address, self.server)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(plain_network: None) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.answers, server.contents, server.asked = [200], [CONTENT], []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits between attempts, no proxy."""
    monkeypatch.setattr(transfer, "BACKOFF_SECONDS", 0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
