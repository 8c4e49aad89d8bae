"""Keeps runs from sharing accelerators, over all workers of a Prefect server.

That is for the order among hosts only. Which devices of its host a run computes on, and that no
other one does, is held by locks of the kernel (`mixnet_core.processes.held_devices`): the server
may be restarted, or away, and give the same accelerators to another run meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefect.concurrency.sync import concurrency
from prefect.logging import get_run_logger

from mixnet_core.errors import MachineError
from mixnet_core.recipe.sections import Devices
from mixnet_flows.impatience import server_is_away

LIMIT = "accelerators"
# The client itself has tried for a minute by then.
_SECONDS_WITHOUT_SERVER = 10.0


@contextmanager
def accelerators_held(devices: Devices) -> Iterator[None]:
    """Holds as many of the server's `accelerators` as there are ranks; waits until they are free.

    The ranks of all hosts, which whoever leads holds at once: two runs that had half of theirs each
    would wait for each other. A CPU run holds none: its ranks are processes, and any number of
    them may share a machine.
    A server that is away is waited for at the beginning, and does no harm at the end: its lease
    runs out.

    Raises:
        MachineError: the server has no such limit, or a smaller one.
    """
    if devices.target == "CPU":
        yield
        return
    count = devices.hosts * devices.ranks
    get_run_logger().info("waiting for %d accelerator(s)", count)
    with ExitStack() as stack:
        _hold(stack, count)
        try:
            yield
        finally:
            _let_go(stack.pop_all())


def _hold(stack: ExitStack, count: int) -> None:
    while True:
        try:
            stack.enter_context(
                concurrency(
                    LIMIT,
                    occupy=count,
                    # Without a limit two runs wait for each other's devices.
                    strict=True,
                    # A server that restarts must not end a training that needs nothing from it.
                    raise_on_lease_renewal_failure=False,
                )
            )
            return
        except Exception as error:
            if not server_is_away(error):
                raise MachineError(
                    f"cannot hold {count} accelerator(s) ({' '.join(str(error).split())}): "
                    f"run `python -m mixnet_flows.infra.setup --{LIMIT} N` with the number that "
                    "the workers have"
                ) from error
            get_run_logger().warning("waiting for the server, to count accelerators: %s", error)
            time.sleep(_SECONDS_WITHOUT_SERVER)


def _let_go(stack: ExitStack) -> None:
    try:
        stack.close()
    except Exception as error:
        get_run_logger().warning("the server takes the accelerators back by itself: %s", error)
