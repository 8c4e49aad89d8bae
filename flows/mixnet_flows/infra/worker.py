"""A worker of Prefect's for this host, which may train together with the pool's other hosts.

    python -m mixnet_flows.infra.worker

makes a queue `host-NAME`, from which one run at a time is taken, and becomes Prefect's worker of
that queue and of all that are no other host's. `prefect worker start` by itself takes other hosts'
too. Its runs know by $MIXNET_WORKER and $MIXNET_ADDRESS which host they are on. One that others do
not reach, as a container in a network of its own, is `--alone`: no queue is its own.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from mixnet_core.errors import MachineError, MixnetError
from mixnet_core.storage.uris import shown
from mixnet_flows.impatience import impatient, server_is_away
from mixnet_flows.infra.server import PREFECT
from mixnet_flows.infra.setup import POOL, set_up_queue, set_up_queues
from mixnet_flows.this_host import ADDRESS_VARIABLE, NAME_VARIABLE, host_of, queue_of

R = TypeVar("R")

_SECONDS_WITHOUT_SERVER = 5.0
# Prefect's server calls a worker offline that has been silent for three times its 30 s.
_SECONDS_UNTIL_MISSED = 100.0


def own_queues(client: SyncPrefectClient, host: str, here: str) -> list[str]:
    """Makes a host's queue, and returns the names of all that its worker takes.

    A worker that asks for a queue that is not there is given nothing at all: those of the
    deployments are made too.

    Args:
        here: where it is, which the queue's description says.

    Raises:
        MachineError: the server has no work pool; a worker of that name is online elsewhere.
    """
    _make_queues(client)
    _wait_while_elsewhere(client, host, here)
    set_up_queue(client, queue_of(host), here)
    return _queues_of(client, host)


def shared_queues(client: SyncPrefectClient, name: str) -> list[str]:
    """Returns the names of the queues that are no host's, for a worker that is alone.

    Its own of before is deleted: others would go on to choose it.

    Raises:
        MachineError: the server has no work pool.
    """
    _make_queues(client)
    with suppress(ObjectNotFound):
        before = client.read_work_queue_by_name(queue_of(name), POOL)
        client.delete_work_queue_by_id(before.id)
    return _queues_of(client, None)


def _make_queues(client: SyncPrefectClient) -> None:
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound as error:
        raise MachineError(
            f"the server has no work pool {POOL}: run `python -m mixnet_flows.infra.setup`"
        ) from error
    set_up_queues(client)


def _queues_of(client: SyncPrefectClient, host: str | None) -> list[str]:
    names = [queue.name for queue in client.read_work_queues(work_pool_name=POOL)]
    return sorted(name for name in names if host_of(name) in (None, host))


def _wait_while_elsewhere(client: SyncPrefectClient, host: str, here: str) -> None:
    """Returns once no worker of that name is online on another host: to the server they are one.

    Each would take what is for the other. Until the server misses it, the one that was here before
    this host got another address is online too.
    """
    deadline = time.monotonic() + _SECONDS_UNTIL_MISSED
    said = False
    while (there := _elsewhere(client, host, here)) is not None:
        if time.monotonic() > deadline:
            raise MachineError(
                f"a worker {host} is online at {there}, and this is {here}: give this one another "
                "--name"
            )
        if not said:
            sys.stderr.write(
                f"worker: a worker {host} was online at {there} a moment ago, and this is {here}: "
                f"waiting for {_SECONDS_UNTIL_MISSED:g} s until the server misses it\n"
            )
            said = True
        time.sleep(_SECONDS_WITHOUT_SERVER)


def _elsewhere(client: SyncPrefectClient, host: str, here: str) -> str | None:
    """Returns where else a worker of that name is online; None: nowhere."""
    try:
        there = client.read_work_queue_by_name(queue_of(host), POOL).description
    except ObjectNotFound:
        return None
    workers = client.read_workers_for_work_pool(POOL)
    online = any(worker.name == host and worker.status == "ONLINE" for worker in workers)
    return there if online and there and there != here else None


def address_towards(url: str) -> str | None:
    """Returns this host's address in the network that leads to a server; None: it is here."""
    place = urlsplit(url)
    for family, kind, protocol, _, target in socket.getaddrinfo(
        place.hostname, place.port or 80, type=socket.SOCK_DGRAM
    ):
        with socket.socket(family, kind, protocol) as probe:
            try:
                # Sends nothing.
                probe.connect(target)
            except OSError:
                continue
            address = str(probe.getsockname()[0])
            return None if ipaddress.ip_address(address).is_loopback else address
    return None


def _when_it_answers(url: str, work: Callable[[SyncPrefectClient], R]) -> R:
    """Returns what the work does, once there is a server to do it with."""
    said = False
    while True:
        try:
            with impatient(), get_client(sync_client=True) as client:
                client.hello()
                return work(client)
        except Exception as error:
            if not server_is_away(error):
                raise
            if not said:
                sys.stderr.write(f"worker: waiting for the server at {shown(url)}\n")
                said = True
            time.sleep(_SECONDS_WITHOUT_SERVER)


def _place(
    client: SyncPrefectClient, options: argparse.Namespace, url: str
) -> tuple[str | None, list[str]]:
    """Returns this host's address for others, None for none, and its worker's queues."""
    if options.alone:
        return None, shared_queues(client, options.name)
    address = options.address or address_towards(url)
    here = f"{address or 'the server'} ({socket.gethostname()})"
    return address, own_queues(client, options.name, here)


def _become(name: str, address: str | None, queues: Sequence[str]) -> NoReturn:
    """Runs Prefect's worker in this process's place: what started this sends signals to it."""
    environment = {**os.environ, NAME_VARIABLE: name}
    environment.pop(ADDRESS_VARIABLE, None)
    if address:
        environment[ADDRESS_VARIABLE] = address
    taken = [word for queue in queues for word in ("--work-queue", queue)]
    command = [*PREFECT, "worker", "start", "--pool", POOL, "--name", name, *taken]
    os.execve(command[0], command, environment)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mixnet_flows.infra.worker",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--name",
        default=os.environ.get(NAME_VARIABLE) or socket.gethostname(),
        help=f"of this host and its worker; ${NAME_VARIABLE}, else the host's",
    )
    parser.add_argument(
        "--address",
        default=os.environ.get(ADDRESS_VARIABLE),
        help="this host's in the network that the ranks of several hosts speak over; "
        f"${ADDRESS_VARIABLE}, else the one that it reaches the server by",
    )
    parser.add_argument(
        "--alone",
        action="store_true",
        help="take no part in trainings over several hosts, as where others do not reach this one",
    )
    options = parser.parse_args(argv)
    url = PREFECT_API_URL.value()
    if not url:
        parser.error("PREFECT_API_URL is not set: give the server's URL")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _become(options.name, *_when_it_answers(url, lambda client: _place(client, options, url)))
    except MixnetError as error:
        sys.stderr.write(f"worker: {error}\n")
        return error.exit_code
    except PrefectHTTPStatusError as error:
        sys.stderr.write(
            f"worker: the server at {shown(url)} answers {error.response.status_code}: see its log,"
            " or set PREFECT_API_AUTH_STRING\n"
        )
        return MachineError.exit_code
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
