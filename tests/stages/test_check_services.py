from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time
from typing import Any

import pytest

from mixnet_core.host.npu_smi import parse_info
from mixnet_core.host.prefect_server import Address, Server, ask_server, find_address
from mixnet_core.stages import check_services
from mixnet_core.stages.check_ascend import Chips
from mixnet_core.stages.check_services import check_clock, check_ports, check_prefect
from tests.host.tools import sample
from tests.stages.checking import failure


@contextmanager
def answering(status: int = 200, body: str = '"3.9.0"', ahead: float = 0.0) -> Iterator[str]:
    """A server on this machine that answers everything alike, whose clock is ahead."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            self.send_header("Date", formatdate(time() + ahead, usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_POST = do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def address(api: str) -> Address:
    return Address(api, {}, "PREFECT_API_URL")


def test_no_server_that_is_configured_is_none_that_is_missed(tmp_path: Path) -> None:
    found = find_address({"PREFECT_HOME": str(tmp_path)})
    assert found is None
    assert check_prefect(None, None).note == "absent"


def test_the_server_is_the_environments_or_the_active_profiles(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(
        'active = "lab"\n[profiles.lab]\nPREFECT_API_URL = "http://lab:4200/api/"\n'
        'PREFECT_API_AUTH_STRING = "me:secret"\n[profiles.other]\n'
    )
    home = {"PREFECT_HOME": str(tmp_path)}
    found = find_address(home)
    assert found is not None
    assert (found.api, found.source) == ("http://lab:4200/api", "Prefect's active profile")
    assert found.headers["Authorization"] == "Basic bWU6c2VjcmV0"
    named = find_address({**home, "PREFECT_API_URL": "http://here:1/api"})
    assert named is not None
    assert (named.api, named.source) == ("http://here:1/api", "PREFECT_API_URL")
    assert find_address({**home, "PREFECT_PROFILE": "other"}) is None
    (tmp_path / "profiles.toml").write_text("active = 5\n[profiles\n")
    assert find_address(home) is None


def test_a_server_that_does_not_answer_fails_and_may_answer_later() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        place = address(f"http://127.0.0.1:{port}/api")
        result = check_prefect(place, ask_server(place))
        error = failure(result)
        assert error.exit_code == 7
        assert "Connection refused" in str(error)
        held.listen()
        # It takes the connection and says nothing.
        silent = ask_server(place, seconds=1.0)
        assert "timed out" in silent.error


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, "{}", "refuses the login (401)"),
        (200, "<html>", "does not answer as Prefect does (200)"),
        (404, '"3"', "does not answer as Prefect does (404)"),
    ],
)
def test_what_is_not_prefect_or_wants_a_password_says_so(
    status: int, body: str, words: str
) -> None:
    with answering(status, body) as url:
        place = address(f"{url}/api")
        assert words in str(failure(check_prefect(place, ask_server(place))))


def test_secrets_in_a_servers_address_are_not_shown() -> None:
    place = address("http://me:hunter2@127.0.0.1:1/api")
    result = check_prefect(place, ask_server(place))
    assert "it is no address" in ask_server(address("http://[/api")).error
    assert "hunter2" not in result.detail + result.fix


def test_no_worker_online_is_a_warning_and_one_is_named() -> None:
    place = address("http://lab/api")
    idle = check_prefect(place, Server("", "3.9.0", {"mixnet": ()}))
    assert (idle.note, idle.fix) == ("warning", "prefect worker start --pool mixnet")
    works = check_prefect(place, Server("", "3.9.0", {"mixnet": ("w1",)}))
    assert (works.note, works.detail.endswith("online: w1 in mixnet")) == ("", True)
    assert check_prefect(place, Server("", "3.9.0", None)).note == "unknown"


def test_a_clock_is_compared_with_the_servers_unless_it_is_this_machines() -> None:
    for ahead, note in ((0.0, ""), (-60.0, "warning"), (3600.0, "warning")):
        with answering(ahead=ahead) as url:
            here = address(f"{url}/api")
            server = ask_server(here)
            there = address("http://lab/api")
            assert check_clock(there, server, None).note == note
            assert "server" not in check_clock(here, server, None).detail
    assert "3600 s behind the Prefect server's" in check_clock(there, server, None).detail


def test_a_store_whose_time_is_15_minutes_off_refuses_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "here")
    for ahead, ok in ((-1000.0, False), (600.0, True)):
        with answering(403, "", ahead=ahead) as url:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
            result = check_clock(None, None, "s3://bucket/releases")
            assert result.ok is ok
            assert ("1000 s ahead of" if not ok else "600 s behind") in result.detail
            assert result.note == ("warning" if ok else "")


@pytest.mark.parametrize(
    ("synchronised", "note"), [(True, ""), (False, "unknown"), (None, "unknown")]
)
def test_alone_the_kernel_is_asked_and_nothing_is_invented(
    monkeypatch: pytest.MonkeyPatch, synchronised: bool | None, note: str
) -> None:
    monkeypatch.setattr(check_services, "kernel_synchronised", lambda: synchronised)
    result = check_clock(None, None, "/a/folder")
    assert (result.ok, result.note) == (True, note)


def test_ports_are_had_and_hccls_are_looked_at_where_there_are_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert check_ports(Chips(), {}).note == ""
    two = Chips(parse_info(sample("info-24.1.1-910b4.txt")))
    monkeypatch.setattr(check_services, "handed_out", lambda: range(15000, 25000))
    monkeypatch.setattr(check_services, "reserved_ports", lambda: "")
    base = {"HCCL_IF_BASE_PORT": "24990"}
    given = check_ports(two, base)
    assert given.note == "warning"
    assert given.fix == "sysctl -w net.ipv4.ip_local_reserved_ports=24990-25021"
    monkeypatch.setattr(check_services, "reserved_ports", lambda: "24990-25021")
    assert check_ports(two, base).note == ""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        busy = check_ports(two, {"HCCL_IF_BASE_PORT": str(port)})
        assert busy.note == "warning"
        assert str(port) in busy.detail.rpartition("in use: ")[2]
    # 32 ports from there would be more than there are.
    assert check_ports(two, {"HCCL_IF_BASE_PORT": "65520"}).ok
    for wrong in ("65530", "70000", "80", "x", "-1"):
        refused = check_ports(two, {"HCCL_IF_BASE_PORT": wrong})
        assert not refused.ok
        assert "expected a port from 1024 to 65520" in refused.detail
    assert check_ports(two, {"HCCL_HOST_SOCKET_PORT_RANGE": "auto"}).note == ""
    monkeypatch.setattr(check_services, "handed_out", lambda: range(15000, 15010))
    assert "ip_local_port_range" in check_ports(Chips(), {}).fix
