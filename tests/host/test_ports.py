from __future__ import annotations

import socket
from pathlib import Path

from mixnet_core.host.ports import handed_out, hccl_ports, reserved, taken


def test_hccls_ports_are_the_documented_ones_or_where_its_variables_say() -> None:
    assert hccl_ports({}) == range(60000, 60032)
    assert hccl_ports({"HCCL_IF_BASE_PORT": "50000"}) == range(50000, 50032)
    assert hccl_ports({"HCCL_HOST_SOCKET_PORT_RANGE": "auto"}) is None


def test_a_port_that_somebody_listens_on_is_taken_and_a_free_one_is_not() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert taken(range(port, port + 1)) == [port]
    assert taken(range(port, port + 1)) == []


def test_what_the_kernel_hands_out_is_read(tmp_path: Path) -> None:
    (tmp_path / "ip_local_port_range").write_text("32768\t60999\n")
    (tmp_path / "ip_local_reserved_ports").write_text("60000-60031\n")
    assert handed_out(tmp_path) == range(32768, 61000)
    assert reserved(tmp_path) == "60000-60031"
    assert handed_out(tmp_path / "none") is None
    assert reserved(tmp_path / "none") == ""
