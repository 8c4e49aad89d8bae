"""Keeps runs from sharing accelerators, over all workers of a Prefect server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefect.concurrency.sync import concurrency
from prefect.logging import get_run_logger

from mixnet_core.errors import MachineError
from mixnet_core.recipe.sections import Devices

LIMIT = "accelerators"


@contextmanager
def accelerators_held(devices: Devices) -> Iterator[None]:
    """Holds as many of the server's `accelerators` as there are ranks; waits until they are free.

    A CPU run holds none: its ranks are processes, and any number of them may share a machine.

    Raises:
        MachineError: the server has no such limit, or a smaller one.
    """
    if devices.target == "CPU":
        yield
        return
    get_run_logger().info("waiting for %d accelerator(s)", devices.ranks)
    with ExitStack() as stack:
        try:
            stack.enter_context(
                concurrency(
                    LIMIT,
                    occupy=devices.ranks,
                    # Without a limit two runs share devices; hours later one of them fails.
                    strict=True,
                    # A server that restarts must not end a training that needs nothing from it.
                    raise_on_lease_renewal_failure=False,
                )
            )
        except Exception as error:
            raise MachineError(
                f"cannot hold {devices.ranks} accelerator(s) ({' '.join(str(error).split())}): "
                f"run `python -m mixnet_flows.infra.setup --{LIMIT} N` with the number that the "
                "workers have"
            ) from error
        yield
