"""A real collective over all hosts: MindSpore's all-reduce of a step's gradients, under msrun.

One rank a host, started by the code that starts training's. Host 0 runs the job and the others
join it, as in training.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from mixnet_core.errors import JobFailed, MachineError, MixnetError, TransientError
from mixnet_core.processes.held_devices import devices_held
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.processes.launch import Patience, join_job, run_job
from mixnet_core.processes.requests import CollectiveRequest, CollectiveResult
from mixnet_core.runs.values import Value
from mixnet_core.stages.check_links import GRADIENT_BYTES
from mixnet_core.stages.check_result import CheckResult, absent, failed, from_error, good

MODULE = "mixnet_core.train.collective"
_FLOAT32_BYTES = 4
_REPEATS = 10
# MindSpore's start and its first graph take a quarter of a minute here.
_WORK_SECONDS = 120.0
# Others use the devices, and a check is not to wait for a training's end.
_DEVICE_SECONDS = 5.0

Start = Callable[[Path, HostRanks], None]
Look = Callable[[], None]


class Meeting(Value):
    """Says where the other hosts join the job; `processes.launch.join_job`.

    Attributes:
        attempt: path of its folder, on the disk that all share.
        address, port: of MindSpore's scheduler.
    """

    attempt: str
    address: str
    port: int


class Failure(Value):
    """Says why a host's rank failed; fields as `processes.failure.same_error` takes them.

    Attributes:
        of_peer: whether it only missed another host's.
    """

    type: str
    message: str
    retryable: bool
    of_peer: bool = False

    @staticmethod
    def of(error: MixnetError) -> Failure:
        """Returns what another host has to know of an error."""
        return Failure(
            type=type(error).__name__,
            message=str(error),
            retryable=error.retryable,
            of_peer=getattr(error, "of_peer", False),
        )


def lead_collective(
    attempts: Path,
    target: str,
    ranks: HostRanks,
    say: Callable[[str], None],
    start: Start,
    look: Look,
) -> tuple[CollectiveResult, Path]:
    """Runs it with all hosts, on host 0.

    Args:
        attempts: the folder of its attempts.
        target: as devices.target.
        ranks: host 0's, one on each host.
        say: is told what goes on, in a line.
        start: is called with the attempt's folder and the ranks with their port, before it starts.
        look: is called a few times a second; what it raises ends the job.

    Returns:
        What it measured, and the attempt's folder.

    Raises:
        MixnetError: as `processes.launch.run_job`; TransientError where it takes too long.
    """
    request = CollectiveRequest(
        target=target,
        ranks=ranks.count,
        elements=GRADIENT_BYTES // _FLOAT32_BYTES,
        repeats=_REPEATS,
    )
    begun: list[Path] = []

    def started(attempt: Path, with_port: HostRanks) -> None:
        begun.append(attempt)
        start(attempt, with_port)

    with devices_held(target, 1, "check", say, wait_seconds=_DEVICE_SECONDS) as held:
        result = run_job(
            MODULE,
            request,
            attempts=attempts,
            ranks=ranks,
            env=held.environment,
            on_start=started,
            on_look=_within(ranks, look),
            keep_open=held.handles,
            patience=_patience(ranks),
        )
    return CollectiveResult.model_validate(result), begun[0]


def join_collective(
    meeting: Meeting, target: str, ranks: HostRanks, say: Callable[[str], None], look: Look
) -> None:
    """Takes part in it on another host.

    Args:
        meeting: as host 0 says.
        target, ranks, say, look: as `lead_collective`; the ranks are this host's.

    Raises:
        MixnetError: as `processes.launch.join_job`; TransientError where it takes too long.
    """
    own = HostRanks(1, ranks.hosts, ranks.host, meeting.address, meeting.port, ranks.join_seconds)
    with devices_held(target, 1, "check", say, wait_seconds=_DEVICE_SECONDS) as held:
        join_job(
            MODULE,
            Path(meeting.attempt),
            own,
            env=held.environment,
            on_look=_within(own, look),
            keep_open=held.handles,
            patience=_patience(own),
        )


def judge_collective(
    result: CollectiveResult | None, failures: dict[int, Failure], hosts: int
) -> CheckResult:
    """Says how long it took, or why it failed and where.

    Args:
        result: None: it failed.
        failures: of the hosts that say one.
    """
    size = f"{GRADIENT_BYTES / 1e6:.1f} MB"
    if result is not None:
        detail = (
            f"all-reduce of {size} over {hosts} hosts, one rank each: {result.seconds:.3f} s "
            f"(median of {_REPEATS}), the sum is right"
        )
        return good("collective", detail)
    # One that only misses another says less than the other.
    own = {host: said for host, said in failures.items() if not said.of_peer} or failures
    host, said = min(own.items())
    detail = f"host {host} of {hosts}: {said.message}"
    kind = TransientError if said.retryable else MachineError
    found = failed("collective", detail, "", kind)
    if said.type not in (JobFailed.__name__, kind.__name__):
        found = found.model_copy(update={"error": said.type})
    return found


def no_collective(why: str) -> CheckResult:
    """Returns that it was not tried."""
    return absent("collective", f"not tried: {why}")


def failed_collective(error: MixnetError) -> CheckResult:
    """Returns what kept it from starting."""
    return from_error("collective", error)


def clear_attempt(attempt: Path) -> None:
    """Removes what an attempt that went well left."""
    shutil.rmtree(attempt, ignore_errors=True)


def _within(ranks: HostRanks, look: Look) -> Callable[[Path], None]:
    limit = ranks.join_seconds + _WORK_SECONDS
    until = time.monotonic() + limit

    def on_look(attempt: Path) -> None:
        look()
        if time.monotonic() > until:
            raise TransientError(
                f"no all-reduce was made within {limit:g} s: see the logs in {attempt}"
            )

    return on_look


def _patience(ranks: HostRanks) -> Patience:
    return Patience(first_seconds=ranks.join_seconds + _WORK_SECONDS, stall_seconds=_WORK_SECONDS)
