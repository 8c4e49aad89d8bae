"""`make serve`: server, pool, deployments, one worker and its watch on this machine, until Ctrl-C.

It deploys the prefect.yaml of the folder that it is started in, which `mixnet deployments` writes,
and runs start there. Where server and workers live apart, infra/README.md has the steps one by one.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mixnet_core.errors import InputError, JobFailed, MixnetError, TransientError
from mixnet_core.processes import supervisor
from mixnet_core.stages.options import open_workspace
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import shown

DEPLOYMENTS = "prefect.yaml"
PREFECT = (sys.executable, "-m", "prefect")
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
# The first start makes the database: 16 s on two cores.
READY_SECONDS = 90
# The supervisor ends everything below it in eight.
STOP_SECONDS = 12


def serve(port: int, home: Path) -> None:
    """Starts everything, says where it is, and stays until a process ends or Ctrl-C.

    Raises:
        InputError: this folder has no prefect.yaml.
        TransientError: the server did not come up.
        JobFailed: a command failed, or one of the processes ended by itself.
    """
    if not Path(DEPLOYMENTS).is_file():
        raise InputError(
            f"no {DEPLOYMENTS} in {shown(str(Path.cwd()))}: `mixnet deployments .` writes it, "
            "or start it where that is"
        )
    # The user's own profile and variables belong to other servers.
    others = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    environment = {
        **others,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        # On another port than 4200 the dashboard would ask the wrong address.
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # In memory, its default, a restart forgets who holds accelerators, and they stay held.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
    }
    with os_errors_explained(home):
        home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        server = stack.enter_context(
            _running(
                "server",
                [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
                environment,
                home,
            )
        )
        _await_ready(server, port, home)
        _run([sys.executable, "-m", "mixnet_flows.infra.setup"], environment)
        _run([*PREFECT, "--no-prompt", "deploy", "--all"], environment)
        # Before the worker: what was killed goes on first.
        command = [sys.executable, "-m", "mixnet_flows.infra.watch"]
        watch = stack.enter_context(_running("watch", command, environment, home))
        command = [*PREFECT, "worker", "start", "--pool", "mixnet", "--name", socket.gethostname()]
        worker = stack.enter_context(_running("worker", command, environment, home))
        sys.stdout.write(
            f"dashboard   http://127.0.0.1:{port}\n"
            f"start a run PREFECT_API_URL=http://127.0.0.1:{port}/api {' '.join(PREFECT)} "
            "deployment run mixnet/train --watch\n"
            f"logs        {home}/server.log, {home}/worker.log, {home}/watch.log\n"
            "Ctrl-C ends it.\n"
        )
        sys.stdout.flush()
        running = {"server": server, "worker": worker, "watch": watch}
        while not (over := [name for name, each in running.items() if each.poll() is not None]):
            time.sleep(0.5)
        ended = over[0]
        raise JobFailed(f"the {ended} ended: see {home}/{ended}.log", retryable=True)


def _await_ready(server: subprocess.Popen[bytes], port: int, home: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise TransientError(
        f"no Prefect server on port {port}: see {home}/server.log, or choose another --port"
    )


@contextmanager
def _running(
    name: str, command: list[str], environment: dict[str, str], home: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command below a supervisor: it ends with this process, however that ends."""
    with (home / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(supervisor.__file__), "--", *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # Ctrl-C reaches this process only, and the order of ending is ours.
            start_new_session=True,
        )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise JobFailed(f"`{' '.join(command)}` failed: {lines[-1]}", retryable=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mixnet_flows.infra.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=4200)
    options = parser.parse_args()
    # A service manager sends SIGTERM; a shell that starts it in the background has SIGINT ignored.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        serve(options.port, open_workspace(None).root / "prefect-server")
    except MixnetError as error:
        sys.stderr.write(f"serve: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("serve: ended\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
