"""`mixnet check --host` beside a real Prefect server and worker."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.host.prefect_server import Server, ask_server, find_address
from mixnet_core.stages.check_services import check_clock, check_prefect
from tests.flows.conftest import Deployed, eventually, served
from tests.stages.checking import failure


def test_the_server_is_asked_for_its_version_and_the_worker_is_named(deployed: Deployed) -> None:
    address = find_address({"PREFECT_API_URL": deployed.api})
    assert address is not None
    result = eventually(
        lambda: (
            found if (found := check_prefect(address, ask_server(address))).note == "" else None
        ),
        60,
    )
    assert result.ok
    assert ": Prefect 3." in result.detail
    assert "online: tests in mixnet" in result.detail

    def agreeing() -> Server | None:
        # A busy server is late with its date.
        server = ask_server(address)
        assert server.skew is not None
        return server if abs(server.skew.seconds) <= server.skew.within else None

    server = eventually(agreeing, 20)
    # Its clock is this one, and says nothing of it.
    assert "server" not in check_clock(address, server, None).detail


def test_a_server_behind_a_password_is_asked_with_it(tmp_path: Path) -> None:
    login = "admin:horse:battery"
    with served(
        tmp_path, PREFECT_SERVER_API_AUTH_STRING=login, PREFECT_API_AUTH_STRING=login
    ) as environment:
        let_in = find_address(environment)
        assert let_in is not None
        result = check_prefect(let_in, ask_server(let_in))
        assert (result.note, "no worker is online" in result.detail) == ("warning", True)
        shut_out = find_address({"PREFECT_API_URL": let_in.api, "PREFECT_HOME": str(tmp_path)})
        assert shut_out is not None
        message = str(failure(check_prefect(shut_out, ask_server(shut_out))))
        assert "refuses the login (401)" in message
        assert "horse" not in message
