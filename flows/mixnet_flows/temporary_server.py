"""A Prefect server for as long as this process runs, whatever the user's own Prefect is set to.

Prefect can start one by itself, but in the caller's process group: Ctrl-C then ends the server
first, the run waits a minute to report to it, and a SIGKILL leaves it behind. Below the supervisor
neither happens.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import urllib3

from mixnet_core.errors import MachineError
from mixnet_core.processes import supervisor
from mixnet_core.storage.files import os_errors_explained

# Making a new database takes 16 s on two idle cores.
_START_SECONDS = 120.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.2


def start_temporary_server(home: Path) -> None:
    """Makes Prefect use a server that ends with this process; call it before Prefect is imported.

    Prefect reads its settings from this process's environment while it is imported, so the
    variables stay changed: all of the user's PREFECT_ ones are gone.

    Args:
        home: folder for its database and log.

    Raises:
        MachineError: the folder cannot be written, the server does not start.
    """
    with os_errors_explained(home):
        home.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    _change_environment(home, port)
    # Isolated, so that nothing in the working folder can break it; see `processes.launch`.
    command = [
        *(sys.executable, "-I", "-S", str(supervisor.__file__), "--"),
        *(sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"),
        *("--port", str(port), "--no-ui"),
    ]
    log = home / "server.log"
    with os_errors_explained(log), log.open("wb") as out:
        server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # Prefect delivers its last events at exit too, and hangs a minute without a server. What was
    # registered first runs last.
    atexit.register(_stop, server)
    _wait_for(server, port, log)


def _stop(server: subprocess.Popen[bytes]) -> None:
    assert server.stdin is not None
    server.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        server.wait(_STOP_SECONDS)
    server.kill()
    server.wait()


def _change_environment(home: Path, port: int) -> None:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ |= {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        # Telemetry, which also leaves "database is locked" tracebacks.
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # The terminal shows the stages; Prefect's own lines stay readable in its database.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    # Without the environment's proxy, which does not know this machine's ports.
    with urllib3.PoolManager(retries=False, timeout=5.0) as pool:
        while server.poll() is None and time.monotonic() < deadline:
            with suppress(urllib3.exceptions.HTTPError):
                if pool.request("GET", f"http://127.0.0.1:{port}/api/health").status == 200:
                    return
            time.sleep(_POLL_SECONDS)
    state = "ended" if server.poll() is not None else f"gave no answer in {_START_SECONDS:.0f} s"
    raise MachineError(f"the temporary Prefect server {state}: its log, {log}, says why")
