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


def own_queues(client: SyncPrefectClient, host: str | None, here: str = "") -> list[str]:
    """Makes a host's queue, and returns the names of all that its worker takes.

    Args:
        host: None: it trains together with no other, and takes what is no host's.
        here: where it is, which the queue's description says.

    A worker that asks for a queue that is not there is given nothing at all: those of the
    deployments are made too.

    Raises:
        MachineError: the server has no work pool; a worker of that name is online elsewhere.
    """
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound as error:
        raise MachineError(
            f"the server has no work pool {POOL}: run `python -m mixnet_flows.infra.setup`"
        ) from error
    set_up_queues(client)
    if host is not None:
        _expect_not_elsewhere(client, host, here)
        set_up_queue(client, queue_of(host), here)
    names = [queue.name for queue in client.read_work_queues(work_pool_name=POOL)]
    return sorted(name for name in names if host_of(name) in (None, host))


def _expect_not_elsewhere(client: SyncPrefectClient, host: str, here: str) -> None:
    """Raises if a worker of that name is online on another host: to the server they are one.

    Each would take what is for the other.
    """
    try:
        there = client.read_work_queue_by_name(queue_of(host), POOL).description
    except ObjectNotFound:
        return
    workers = client.read_workers_for_work_pool(POOL)
    online = any(worker.name == host and worker.status == "ONLINE" for worker in workers)
    if online and there and there != here:
        raise MachineError(
            f"a worker {host} is online at {there}, this is {here}: give this one another --name; "
            "if it is the same host, try again when the server has missed it, after some 90 s"
        )


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
        return None, own_queues(client, None)
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
