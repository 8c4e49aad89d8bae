"""MindSpore's launcher: its command, and a port for its scheduler."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixnet_core.errors import MachineError, TransientError
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.processes.rank_logs import WORKERS


def msrun_command(module: str, attempt: Path, ranks: HostRanks) -> list[str]:
    """Returns the command of msrun beside this interpreter, one worker for each rank of this host.

    Args:
        module: what each rank runs, with the attempt's folder as its argument.
        attempt: the attempt's folder.
        ranks: with a port.

    Raises:
        MachineError: msrun is not installed there.
    """
    msrun = folder_of_python() / "msrun"
    # msrun runs an interpreter by these names only, found on PATH; all else is a script to it.
    names = [name for name in ("python", "python3") if (folder_of_python() / name).exists()]
    if not os.access(msrun, os.X_OK) or not names:
        raise MachineError(
            f"{ranks.count} ranks need {msrun} with python beside it, but they are not there: "
            "install mindspore into this environment, or set devices.ranks to 1"
        )
    return [
        str(msrun),
        f"--worker_num={ranks.count}",
        f"--local_worker_num={ranks.each}",
        f"--master_addr={ranks.address}",
        f"--master_port={ranks.port}",
        *(_of_several_hosts(ranks) if len(ranks.at_work) > 1 else ()),
        # Without it msrun returns at once, and 0.
        "--join=True",
        # Named by ranks, whose numbers are over all hosts; the scheduler's is host 0's.
        f"--log_dir={attempt / WORKERS}",
        # A rank that does not exist: the default starts one `tail -f` per worker.
        f"--tail_worker_log={ranks.count}",
        names[0],
        "-m",
        module,
        str(attempt),
    ]


def _of_several_hosts(ranks: HostRanks) -> tuple[str, ...]:
    return f"--node_rank={ranks.place}", f"--cluster_time_out={max(1, round(ranks.join_seconds))}"


def folder_of_python() -> Path:
    """Returns the folder that this interpreter and its programs stand in."""
    # Not resolved: a virtual environment's python is a link out of it.
    return Path(sys.executable).absolute().parent


@contextmanager
def held_port(address: str = "127.0.0.1", port: int | None = None) -> Iterator[int]:
    """Holds a port for msrun's scheduler, which no other call gets while the block runs.

    It stays bound here without listening, which keeps the kernel from handing it out again. Both
    ends set SO_REUSEADDR, so the scheduler can still listen on it.

    Args:
        address: of this host, as numbers.
        port: None: a free one.

    Raises:
        TransientError: the port is in use, or the address is not this host's any more.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((address, port or 0))
        except OSError as error:
            what = address if port is None else f"port {port} of {address}"
            hint = "" if port is None else ", or give --master without one: a free one is taken"
            raise TransientError(
                f"MindSpore's scheduler cannot listen on {what} ({error.strerror or error}): try "
                f"again later{hint}"
            ) from error
        yield holder.getsockname()[1]
