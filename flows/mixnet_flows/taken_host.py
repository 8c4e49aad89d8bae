"""Tags a flow run by the host that it trains on: whoever looks for hosts finds that one busy.

A node run stands in its host's own queue. What leads, or trains on one host, came by another queue,
which any host's worker takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from mixnet_flows.impatience import impatient
from mixnet_flows.this_host import NAME_VARIABLE

_PREFIX = "host: "


def tag_of(host: str) -> str:
    """Returns the tag of what trains on a host."""
    return f"{_PREFIX}{host}"


def let_host_go() -> None:
    """Takes the tag away that a process of this flow run left which was killed on another host."""
    _tag([])


@contextmanager
def host_taken() -> Iterator[None]:
    """Tags this flow run for the block, where its worker is one of the pool's hosts."""
    host = os.environ.get(NAME_VARIABLE)
    if not host:
        yield
        return
    _tag([tag_of(host)])
    try:
        yield
    finally:
        _tag([])


def _tag(tags: list[str]) -> None:
    """Gives this flow run tags in the place of those of a host."""
    run = UUID(flow_run.id)
    try:
        with impatient(), get_client(sync_client=True) as client:
            others = (tag for tag in client.read_flow_run(run).tags if not tag.startswith(_PREFIX))
            client.update_flow_run(run, tags=[*others, *tags])
    except Exception as error:
        get_run_logger().warning("others are not told which host trains: %s", error)
