"""`make serve`: store, server, deployments, a worker and its watch on this machine, until Ctrl-C.

It deploys the prefect.yaml of the folder that it is started in, which `mixnet deployments` writes,
and runs start there. All data is in the workspace: the server's below prefect-server/. Where server
and workers live apart, infra/README.md has the steps one by one.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

from mixnet_core.errors import InputError, JobFailed, MixnetError, TransientError
from mixnet_core.processes.stopping import NOTICE_VARIABLE
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages.options import REGISTRY_VARIABLE, open_workspace
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import shown
from mixnet_flows.infra import password, store
from mixnet_flows.infra.running import Program, running
from mixnet_flows.infra.saving import let_runs_save, let_runs_start
from mixnet_flows.infra.server import PREFECT, Parser, Server, add_options, server_of
from mixnet_flows.infra.store import running_store

DEPLOYMENTS = "prefect.yaml"
HOME = "prefect-server"
WATCH = [sys.executable, "-m", "mixnet_flows.infra.watch"]
# Both are named by $MIXNET_WORKER, else as the host.
WORKER = [sys.executable, "-m", "mixnet_flows.infra.worker"]
# The first start makes the database: 16 s on two cores.
READY_SECONDS = 90


def serve(
    server: Server, workspace: Workspace, with_store: bool | None, password_from: str
) -> None:
    """Starts everything, says where it is, and stays until Ctrl-C.

    Args:
        with_store: whether the object store runs; None: as `_is_store_wanted` says.
        password_from: where a shell finds the password, for what is said.

    Raises:
        InputError: this folder has no prefect.yaml; another one serves this workspace; others could
            open the dashboard; the database is refused.
        MachineError: the store does not start.
        TransientError: the server did not come up, the database does not answer.
        JobFailed: a command failed, or one of the programs ends again and again.
    """
    if not Path(DEPLOYMENTS).is_file():
        raise InputError(
            f"no {DEPLOYMENTS} in {shown(str(Path.cwd()))}: `mixnet deployments .` writes it, "
            "or start it where that is"
        )
    server.require_usable()
    home = server.home
    stop_file = home / "stop"
    programs: list[Program] = []
    environment = server.client_environment()
    environment |= {"MIXNET_HOME": str(workspace.root), NOTICE_VARIABLE: str(stop_file)}
    # What is last here ends first: the watch, the runs, their worker, the server, the store.
    with ExitStack() as stack:
        stack.enter_context(_alone(home))
        let_runs_start(stop_file)
        releases = _releases_without_store(workspace, with_store)
        if _is_store_wanted(workspace, home, with_store):
            found, program = stack.enter_context(running_store(home))
            programs.append(program)
            environment |= found.environment
            releases = f"{found.registry} in SeaweedFS; `set -a; . {found.variables}` to reach it"
        program = Program("server", server.command, server.environment(), home)
        programs.append(stack.enter_context(running(program)))
        _await_ready(program, server)
        _run([sys.executable, "-m", "mixnet_flows.infra.setup"], environment)
        _run([*PREFECT, "--no-prompt", "deploy", "--all"], environment)
        # Before the worker: what was killed goes on first.
        watching = stack.enter_context(ExitStack())
        program = Program("watch", WATCH, environment, home)
        programs.append(watching.enter_context(running(program)))
        program = Program("worker", WORKER, environment, home)
        programs.append(stack.enter_context(running(program)))
        stack.callback(let_runs_save, stop_file)
        # First of all: a run that saves and ends is not to go on at once.
        stack.callback(watching.close)
        sys.stdout.write(_told(server, password_from, releases, programs))
        sys.stdout.flush()
        _keep(programs)


def _keep(programs: Sequence[Program]) -> NoReturn:
    """Starts again what ends by itself, and keeps logs short, until Ctrl-C.

    A run needs neither server nor store all the time: it goes on without them for a while.

    Raises:
        JobFailed: one of them ends again and again, and never served anybody.
    """
    while True:
        time.sleep(0.5)
        for program in programs:
            if not program.is_running() and program.start_again():
                sys.stderr.write(f"serve: the {program.name} ended, started again\n")
            program.shorten_log()


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Holds the folder's lock: two servers would run every schedule twice, two stores lose files.

    Raises:
        InputError: another process has it.
        MachineError: the folder cannot be written.
    """
    with os_errors_explained(home):
        home.parent.mkdir(parents=True, exist_ok=True)
        # Whoever reads its database reads every run's parameters and logs.
        home.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(home / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another one serves {shown(str(home.parent))}: end it, or choose another "
                "--workspace"
            ) from None
        yield
    finally:
        os.close(handle)


def _is_store_wanted(workspace: Workspace, home: Path, asked: bool | None) -> bool:
    """Says whether the store runs: as asked, else where releases are not somewhere else already."""
    if asked is not None:
        return asked
    if os.environ.get(REGISTRY_VARIABLE) or store.program() is None:
        return False
    return store.has_data(home) or not _has_releases(workspace)


def _releases_without_store(workspace: Workspace, asked: bool | None) -> str:
    """Returns where releases go then, and why there."""
    named = os.environ.get(REGISTRY_VARIABLE)
    if named:
        return f"{shown(named)}, as {REGISTRY_VARIABLE} says"
    if asked is None and store.program() is None:
        why = "; pip install 'mindspore-mixnet[serve]' brings SeaweedFS, which they go to then"
    elif asked is None and _has_releases(workspace):
        why = ", which has some; --store is SeaweedFS, for new ones"
    else:
        why = ""
    return f"{workspace.releases}{why}"


def _has_releases(workspace: Workspace) -> bool:
    return workspace.releases.is_dir() and any(workspace.releases.iterdir())


def _await_ready(program: Program, server: Server) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and program.is_running():
        try:
            with urllib.request.urlopen(f"{server.url}/api/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise TransientError(
        f"no Prefect server on port {server.port}: see {server.home}/server.log, or choose "
        "another --port"
    )


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise JobFailed(f"`{' '.join(command)}` failed: {lines[-1]}", retryable=False)


def _told(server: Server, password_from: str, releases: str, programs: Sequence[Program]) -> str:
    """Returns what a person has to know, a line each."""
    address, who = server.url, ""
    if server.is_everywhere:
        address = f"http://{socket.gethostname()}:{server.port}"
    if server.password is not None:
        address += " (with its password, which HTTP shows to the network: put TLS before it)"
        who = f"PREFECT_API_AUTH_STRING={password_from} "
    found = server.database.shown if server.database else f"{server.home}/prefect.db"
    return (
        f"dashboard   {address}\n"
        f"start a run {who}PREFECT_API_URL={server.url}/api {' '.join(PREFECT)} "
        "deployment run mixnet/train --watch\n"
        f"database    {found}; ended runs stay {server.days} days\n"
        f"releases    {releases}\n"
        f"logs        {', '.join(str(program.log) for program in programs)}\n"
        "Ctrl-C ends it.\n"
    )


def main() -> int:
    parser = Parser(
        prog="serve", usage="python -m mixnet_flows.infra.serve [OPTIONS]", description=__doc__
    )
    add_options(parser)
    parser.add_argument("--workspace", help="folder of all data; $MIXNET_HOME, else ./workspace")
    parser.add_argument(
        "--store",
        action=argparse.BooleanOptionalAction,
        help="SeaweedFS for releases; default: where it is installed and there are none elsewhere",
    )
    options = parser.parse_args()
    file = options.password_file
    password_from = (
        f'"$(cat {shlex.quote(str(file.absolute()))})"' if file else f'"${password.VARIABLE}"'
    )
    # A service manager sends SIGTERM; a shell that starts it in the background has SIGINT ignored.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        workspace = open_workspace(options.workspace)
        server = server_of(options, workspace.root / HOME)
        serve(server, workspace, options.store, password_from)
    except MixnetError as error:
        sys.stderr.write(f"serve: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("serve: ended\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
