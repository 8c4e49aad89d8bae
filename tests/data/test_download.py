"""Against real servers on this machine, one of them with a certificate that nobody signed."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from mixnet_core.data.sources import download as module
from mixnet_core.data.sources.download import check_reachable, download
from mixnet_core.errors import DatasetError, DigestMismatch, MachineError, TransientError

PLAIN = b"four labels" * 1000
CONTENT = gzip.compress(PLAIN, mtime=0)
SHA256 = hashlib.sha256(PLAIN).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers with `answers` in turn, the last one for ever: a status, or "cut" for half a body."""

    answers: list[int | str]
    asked: list[str]
    connections = 0

    def get_request(self) -> tuple[socket.socket, Any]:
        self.connections += 1
        return super().get_request()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.gz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.server.asked.append(self.command)
        self.send_response(200 if answer == "cut" else int(answer))
        # As some servers do with files that are stored compressed.
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(CONTENT[: len(CONTENT) // 2] if answer == "cut" else CONTENT)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY", module._RETRY.new(backoff_factor=0))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.answers, server.asked = [200], []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_file_with_the_right_content_arrives_as_it_is(server: Server, tmp_path: Path) -> None:
    download(server.url, tmp_path / "new" / "file.gz", SHA256)
    assert (tmp_path / "new" / "file.gz").read_bytes() == CONTENT


def test_a_wrong_digest_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch, match=f"{SHA256}, expected {'0' * 64}; nothing was kept"):
        download(server.url, tmp_path / "file.gz", "0" * 64)
    assert list(tmp_path.iterdir()) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("fault", [503, 429, "cut"])
def test_a_passing_failure_is_tried_again(server: Server, tmp_path: Path, fault: int | str) -> None:
    server.answers = [fault, fault, 200]
    download(server.url, tmp_path / "file.gz", SHA256)
    assert (tmp_path / "file.gz").read_bytes() == CONTENT
    assert len(server.asked) == 3


@pytest.mark.parametrize("fault", [500, "cut"])
def test_a_lasting_failure_is_transient_and_ends(
    server: Server, tmp_path: Path, fault: int | str
) -> None:
    server.answers = [fault]
    with pytest.raises(TransientError, match=r"check the network, or set data\.path") as caught:
        download(server.url, tmp_path / "file.gz", SHA256)
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 6
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.answers = [404]
    with pytest.raises(DatasetError, match=r"answered 404, expected 200: set data\.path"):
        download(server.url, tmp_path / "file.gz", SHA256)
    assert len(server.asked) == 1


def test_no_server_is_transient(server: Server, tmp_path: Path) -> None:
    closed = urllib3.util.parse_url(server.url)._replace(port=1).url
    with pytest.raises(TransientError, match="cannot download"):
        download(closed, tmp_path / "file.gz", SHA256)


def test_reachability_is_asked_once_and_transfers_nothing(server: Server) -> None:
    check_reachable(server.url)
    server.answers = [503]
    with pytest.raises(TransientError):
        check_reachable(server.url)
    server.answers = [403]
    with pytest.raises(DatasetError, match="answered 403"):
        check_reachable(server.url)
    assert server.asked == ["HEAD"] * 3


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_a_certificate_that_nobody_signed_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 "
        "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem"
    )
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:")

    with pytest.raises(MachineError, match=r"certificate is not trusted .* set SSL_CERT_FILE"):
        download(url, tmp_path / "file.gz", SHA256)
    assert not (tmp_path / "file.gz").exists()
    assert server.connections == 1

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    download(url, tmp_path / "file.gz", SHA256)
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_the_proxy_of_the_environment_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    download("http://nowhere.invalid/file.gz", tmp_path / "file.gz", SHA256)
    assert len(server.asked) == 1
