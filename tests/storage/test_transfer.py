"""Against a real server on this machine, also as a proxy, and with an untrusted certificate."""

from __future__ import annotations

import gzip
import hashlib
import logging
import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from mixnet_core.errors import InputError, MachineError, TransientError
from mixnet_core.storage import transfer as module
from mixnet_core.storage.transfer import check_served, check_url, shown, transfer
from tests.web_server import CONTENT, Server

pytestmark = pytest.mark.usefixtures("plain_network")

SHA256 = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "https://nowhere.invalid/w.ckpt"
"""On a host that no name server knows, so that only a proxy reaches it."""

needs_openssl = pytest.mark.skipif(
    not shutil.which("openssl"), reason="openssl makes the certificate"
)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been slept."""
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    return slept


@pytest.fixture
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def make_certificate(folder: Path) -> Path:
    """For this machine and NOWHERE, signed by nobody; its key is key.pem beside it."""
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 "
        "-addext subjectAltName=IP:127.0.0.1,DNS:nowhere.invalid "
        "-keyout key.pem -out certificate.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem"


def encryption(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


def test_progress_ends_at_the_announced_size(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    sha256 = transfer(
        server.url,
        tmp_path / "w",
        attempts=1,
        on_bytes=lambda done, total: seen.append((done, total)),
    )
    assert sha256 == SHA256
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("fault", [408, 425, 429, 500, 503, "cut"])
def test_a_passing_fault_is_tried_again(server: Server, tmp_path: Path, fault: int | str) -> None:
    server.answers = [fault, fault, 200]
    assert transfer(server.url, tmp_path / "w", attempts=3) == SHA256
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("fault", "named"), [(503, "it answered 503"), ("cut", "it ended after 192000 bytes")]
)
def test_a_lasting_fault_is_transient_and_named(
    server: Server, tmp_path: Path, fault: int | str, named: str
) -> None:
    server.answers = [fault]
    with pytest.raises(TransientError, match=f"{named}.*, 2 attempts in all") as caught:
        transfer(server.url + "?signature=secret", tmp_path / "w", attempts=2)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [400, 403, 404, 410, 451])
def test_a_refusal_is_final(server: Server, tmp_path: Path, status: int) -> None:
    server.answers = [status]
    with pytest.raises(InputError, match=f"answered {status}, expected 200"):
        transfer(server.url, tmp_path / "w", attempts=4)
    assert len(server.asked) == 1


def test_no_server_is_transient(server: Server, tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="the connection failed"):
        transfer("http://127.0.0.1:1/w.ckpt", tmp_path / "w", attempts=2)


def test_waits_double_and_scatter(
    server: Server, tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 8.0)
    server.answers = [500]
    for _ in range(2):
        with pytest.raises(TransientError):
            transfer(server.url, tmp_path / "w", attempts=6)
    first, second = waits[:5], waits[5:]
    assert first != second
    for full, wait in zip([8, 16, 32, 60, 60], first, strict=True):
        assert full / 2 <= wait <= full


def test_retry_after_is_honoured_up_to_a_cap(
    server: Server, tmp_path: Path, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    server.answers = [
        *((503, {"Retry-After": text}) for text in ("0", "7", "86400", soon, "junk")),
        200,
    ]
    with caplog.at_level(logging.WARNING):
        transfer(server.url, tmp_path / "w", attempts=6)
    assert waits[:3] == [0, 7, module.MAX_WAIT_SECONDS]
    assert 20 < waits[3] <= 30
    assert waits[4] == 0
    assert "it answered 503; attempt 3 of 6 in 7.0 s" in caplog.text


def test_a_redirect_is_followed_but_not_off_this_machine_unencrypted(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [(302, {"Location": "/other"}), 200]
    assert transfer(server.url, tmp_path / "w", attempts=1) == SHA256
    assert server.asked == ["GET /weights.ckpt", "GET /other"]
    for place in ("http://example.org/w", "file:///etc/passwd"):
        server.answers = [(302, {"Location": place})]
        with pytest.raises(InputError, match="expected https://"):
            transfer(server.url, tmp_path / "w", attempts=1)
    server.answers = [(302, {"Location": "/again"})]
    with pytest.raises(InputError, match="redirects more than 5 times"):
        transfer(server.url, tmp_path / "w", attempts=1)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.org/w.ckpt", "is not encrypted"),
        ("http://10.0.0.1/w.ckpt", "is not encrypted"),
        ("ftp://example.org/w.ckpt", "expected https://"),
        ("https:///w.ckpt", "expected https://"),
        ("w.ckpt", "expected https://"),
        ("https://host:port/w.ckpt", "is no URL"),
        ("https://user:pass@example.org/w.ckpt", "holds credentials"),
        ("file://relative/w.ckpt", "is relative"),
    ],
)
def test_an_unusable_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_url(url)
    assert "pass" not in str(caught.value)


def test_a_shown_url_holds_no_secret() -> None:
    assert shown("https://h/w.ckpt?X-Amz-Signature=secret#secret") == "https://h/w.ckpt"
    for password in ("secret", "sec/ret", "sec?ret", "sec#ret", "sec@ret"):
        assert "sec" not in shown(f"https://user:{password}@h/w.ckpt")


def test_what_is_stored_compressed_arrives_as_it_is_stored(server: Server, tmp_path: Path) -> None:
    stored = gzip.compress(CONTENT)
    server.contents, server.answers = [stored], [(200, {"Content-Encoding": "gzip"})]
    assert transfer(server.url, tmp_path / "w", attempts=1) == hashlib.sha256(stored).hexdigest()
    assert (tmp_path / "w").read_bytes() == stored


def test_a_served_url_is_asked_for_once_without_its_content(server: Server) -> None:
    server.answers = [(302, {"Location": "/other"}), 200]
    check_served(server.url)
    assert server.asked == ["HEAD /weights.ckpt", "HEAD /other"]


@pytest.mark.parametrize(("status", "error"), [(404, InputError), (503, TransientError)])
def test_a_url_that_is_not_served_is_an_error_at_once(
    server: Server, waits: list[float], status: int, error: type[Exception]
) -> None:
    server.answers = [status]
    with pytest.raises(error, match=f"answered {status}") as caught:
        check_served(server.url + "?signature=secret")
    assert "secret" not in str(caught.value)
    assert [line.split()[0] for line in server.asked] == ["HEAD", "GET"]
    assert waits == []


@pytest.mark.parametrize("status", [400, 403, 404, 405, 429, 500, 501, 502, 503, 504])
def test_a_server_that_knows_no_head_is_asked_as_fetching_asks(server: Server, status: int) -> None:
    server.answers = [status, (302, {"Location": "/other"}), 200]
    check_served(server.url)
    assert server.asked == ["HEAD /weights.ckpt", "GET /weights.ckpt", "GET /other"]
    server.answers = [status, 403]
    with pytest.raises(InputError, match="answered 403"):
        check_served(server.url)


def test_a_file_on_this_machine_is_served_if_it_is_there(tmp_path: Path) -> None:
    url = (tmp_path / "w").as_uri()
    with pytest.raises(InputError, match=f"nothing at {url}"):
        check_served(url)
    (tmp_path / "w").write_bytes(CONTENT)
    check_served(url)


def test_a_full_disk_is_the_callers_to_explain(server: Server) -> None:
    with pytest.raises(OSError, match="No space left"):
        transfer(server.url, Path("/dev/full"), attempts=3)
    assert len(server.asked) == 1


@needs_openssl
def test_a_certificate_that_nobody_signed_is_refused_at_once(
    server: Server, tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.socket = encryption(certificate).wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:")
    with pytest.raises(MachineError, match=r"certificate is not trusted .* set SSL_CERT_FILE"):
        transfer(url, tmp_path / "w", attempts=4)
    with pytest.raises(MachineError, match="certificate is not trusted"):
        check_served(url)
    assert server.connections == 2
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert transfer(url, tmp_path / "w", attempts=1) == SHA256
    server.answers = [(302, {"Location": "http://127.0.0.1/w"})]
    with pytest.raises(InputError, match="expected https://"):
        transfer(url, tmp_path / "w", attempts=1)


def test_https_at_a_port_of_http_is_said_at_once(server: Server, tmp_path: Path) -> None:
    url = server.url.replace("http:", "https:")
    with pytest.raises(InputError, match="its port does not speak TLS"):
        transfer(url, tmp_path / "w", attempts=4)
    assert server.connections == 1


@needs_openssl
def test_the_proxy_of_the_environment_is_used_and_sees_only_a_tunnel(
    server: Server, tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.tunnel = encryption(certificate)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(MachineError, match="certificate is not trusted"):
        transfer(NOWHERE, tmp_path / "w", attempts=1)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.asked.clear()
    assert transfer(NOWHERE, tmp_path / "w", attempts=1) == SHA256
    check_served(NOWHERE)
    tunnel = "CONNECT nowhere.invalid:443"
    assert server.asked == [tunnel, "GET /w.ckpt", tunnel, "HEAD /w.ckpt"]


def test_a_host_that_the_environment_exempts_is_reached_without_the_proxy(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "nowhere.invalid")
    with pytest.raises(TransientError, match="the connection failed"):
        transfer(NOWHERE, tmp_path / "w", attempts=1)
    assert server.asked == []


def test_this_machine_is_reached_without_the_proxy(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Port 1 refuses: nothing listens there.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert transfer(server.url, tmp_path / "w", attempts=1) == SHA256


def test_a_dead_proxy_is_transient_and_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://user:secret@127.0.0.1:1")
    with pytest.raises(TransientError, match=r"the connection failed.*, 2 attempts") as caught:
        transfer(NOWHERE, tmp_path / "w", attempts=2)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["socks5://user:secret@127.0.0.1:1", "127.0.0.1:1"])
def test_an_unusable_proxy_is_refused_without_being_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(InputError, match="https_proxy is no usable URL") as caught:
        transfer(NOWHERE, tmp_path / "w", attempts=2)
    assert "127.0.0.1" not in str(caught.value)
    assert "secret" not in str(caught.value)
