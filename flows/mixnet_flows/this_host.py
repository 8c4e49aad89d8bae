"""Which of the pool's hosts a process is on, and the queue that only that host's worker takes.

`infra.worker` says it in the environment of the worker, and so of the flow runs that it starts.
"""

from __future__ import annotations

# The worker's name in the pool.
NAME_VARIABLE = "MIXNET_WORKER"
# Of this host in the hosts' network, as --master takes it.
ADDRESS_VARIABLE = "MIXNET_ADDRESS"

_PREFIX = "host-"


def queue_of(host: str) -> str:
    """Returns the name of a host's own queue."""
    return f"{_PREFIX}{host}"


def host_of(queue: str) -> str | None:
    """Returns whose queue this is; None: every worker's."""
    return queue.removeprefix(_PREFIX) if queue.startswith(_PREFIX) else None
