"""A host of several that does not lead: joins each attempt that host 0 plans, and ends as it does.

    waits for a leader that lives -> says that it is ready -> joins attempt after attempt -> the end

A leader that falls silent is waited for again, as at first: another one goes on from the newest
checkpoint. What is said how is in `runs.lease`.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

from mixnet_core.errors import (
    InputError,
    JobFailed,
    MachineError,
    MixnetError,
    Stopped,
    TransientError,
)
from mixnet_core.evaluate.job import patience_of
from mixnet_core.processes import stopping
from mixnet_core.processes.child import REQUEST
from mixnet_core.processes.failure import AGAIN, same_error
from mixnet_core.processes.held_devices import HeldDevices, devices_held
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.processes.launch import join_job
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.lease import Lease, newest_lease, owner_of, said_in, say_in
from mixnet_core.runs.pulse import Pulse, PulseWatch
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.stages.joint_work import Work, told_to
from mixnet_core.stages.other_host import expect_told_alike
from mixnet_core.stages.which_host import local_addresses
from mixnet_core.storage.files import read_json

_POLL_SECONDS = 0.2
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_CONNECT = 2.0
# Two beats of whoever is this host already.
_SECONDS_TO_BE_SEEN = 2.5
_SECONDS_FOR_DEVICES = 10.0


class _LeaderLost(Exception):
    """The leader is silent, or another one leads."""


class _Over(Exception):
    """The leader says that the attempt is over."""


def follow(
    recipe: Recipe,
    run: RunDir,
    ranks: HostRanks,
    say: Callable[[str], None],
    is_finished: Callable[[], bool],
    work: Work,
) -> dict[str, Any] | None:
    """Does with this host's ranks what host 0 plans.

    Args:
        ranks: this host's.
        say: is told what goes on, in a line.
        is_finished: tells whether the stage is on record.
        work: what they do; devices are held throughout, or for a part that counts alone while it is
            done, if they are free by then.

    Returns:
        The result, as host 0 says it; None if it is on record already.

    Raises:
        TransientError: no host leads within `devices.join_seconds`.
        InputError: another process is this host too.
        MixnetError: what host 0 ended with.
    """
    if is_finished():
        return None
    for_work = f"{work.stage} of {run.name}"
    hold = partial(devices_held, recipe.devices.target, ranks.each, for_work, say)
    with nullcontext() if work.counts_alone else hold() as held:
        while not is_finished():
            led_by = _leader(run, ranks, work.stage, say, is_finished)
            if led_by is None:
                break
            lease, watch = led_by
            _expect_nobody_else(lease, ranks)
            follower = _Follower(recipe, run, ranks, work, lease, watch, held, hold, say)
            with Pulse(lease.pulse(ranks.host)):
                try:
                    return follower.follow()
                except _LeaderLost as lost:
                    say(f"{lost}; waiting for another leader")
                except BaseException as error:
                    follower.leave(error)
                    raise
    return None


def _leader(
    run: RunDir,
    ranks: HostRanks,
    stage: str,
    say: Callable[[str], None],
    is_finished: Callable[[], bool],
) -> tuple[Lease, PulseWatch] | None:
    """Waits for a leader of the stage that lives; None if the stage is finished meanwhile."""
    watches: dict[int, PulseWatch] = {}
    began, said = time.monotonic(), False
    while True:
        newest = newest_lease(run)
        if newest is not None and _is_of(newest, stage):
            if newest.number not in watches:
                watches[newest.number] = PulseWatch(newest.pulse(0))
            watch = watches[newest.number]
            watch.silent()
            if watch.has_grown:
                say(f"{ranks.named} follows {owner_of(newest)}")
                return newest, watch
        if is_finished():
            return None
        if time.monotonic() > began + ranks.join_seconds:
            raise TransientError(
                f"host 0 of {ranks.hosts} has not joined within {ranks.join_seconds:g} s: start "
                "the same command there, with --node-rank 0 and the same workspace on a disk that "
                "all hosts share"
            )
        if not said and time.monotonic() > began + 2 * _SECONDS_BETWEEN_LOOKS:
            say(f"{ranks.named} waits for host 0")
            said = True
        time.sleep(_POLL_SECONDS)


def _is_of(lease: Lease, stage: str) -> bool:
    """Tells whether a stage is led by a lease, which has not ended."""
    said = said_in(lease.owner)
    return said.get("end") is None and said.get("stage", "train") == stage


def _expect_nobody_else(lease: Lease, ranks: HostRanks) -> None:
    """Makes sure that no process which lives is this host already.

    Raises:
        InputError: one is.
    """
    said = said_in(lease.host(ranks.host))
    if not said or said.get("left"):
        return
    watch, until = PulseWatch(lease.pulse(ranks.host)), time.monotonic() + _SECONDS_TO_BE_SEEN
    while time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
        watch.silent()
        if watch.has_grown:
            raise _twice(said, ranks)


def _twice(said: Mapping[str, Any], ranks: HostRanks) -> InputError:
    return InputError(
        f"{said.get('at', '?')} is {ranks.named} already: give each host a --node-rank of its own, "
        f"from 0 to {ranks.hosts - 1}"
    )


class _Follower:
    """Follows one leader to its end."""

    def __init__(
        self,
        recipe: Recipe,
        run: RunDir,
        ranks: HostRanks,
        work: Work,
        lease: Lease,
        watch: PulseWatch,
        held: HeldDevices | None,
        hold: Callable[..., AbstractContextManager[HeldDevices]],
        say: Callable[[str], None],
    ) -> None:
        self._recipe, self._ranks, self._lease, self._watch = recipe, ranks, lease, watch
        self._work, self._held, self._hold, self._say = work, held, hold, say
        self._told = told_to(recipe, run, ranks, work)
        self._state: dict[str, Any] = {
            **self._told,
            "session": uuid4().hex,
            "at": f"host {socket.gethostname()} (pid {os.getpid()})",
            "done": None,
            "error": None,
        }
        self._next_look = 0.0
        self._waits = False

    def follow(self) -> dict[str, Any]:
        """Joins attempt after attempt; returns what the leader says that training left.

        Raises:
            MixnetError: what the leader ended with.
            InputError: this host was told otherwise than the leader, which trains already.
            _LeaderLost: it is silent.
        """
        self._expect_told_alike()
        say_in(self._lease.host(self._ranks.host), self._state)
        while True:
            said = said_in(self._lease.owner)
            if said.get("end") is not None:
                return _result(said["end"])
            newest = int(said.get("attempt", 0))
            if said and (newest == 0 or said.get("over")):
                if self._state["done"] != newest:
                    self._note(done=newest, error=None)
            # One that others were at before this process, or are at without it, is not its own.
            elif said and self._state["done"] == newest - 1 and self._is_in(said["plan"]):
                self._join(said["plan"], newest)
                self._waits = False
            elif said and self._state["done"] != newest and not self._waits:
                self._waits = True
                self._say(f"{self._ranks.named} waits for the next attempt: one is under way")
            self._expect_leader()
            time.sleep(_POLL_SECONDS)

    def _expect_told_alike(self) -> None:
        # Before the first attempt the leader compares, and all end. What runs goes on without it.
        said = said_in(self._lease.owner)
        if said.get("attempt"):
            told = {name: said.get(name) for name in self._told}
            expect_told_alike(self._ranks.named, self._told, told)

    def leave(self, error: BaseException) -> None:
        """Says that this host ends, unless another process is this host by now."""
        with suppress(MachineError, InputError):
            self._note(left=type(error).__name__)

    def _join(self, plan: Mapping[str, Any], number: int) -> None:
        attempt = Path(plan["attempt"])
        ranks = HostRanks(
            self._ranks.each,
            self._ranks.hosts,
            self._ranks.host,
            plan["address"],
            plan["port"],
            self._ranks.join_seconds,
            tuple(plan["hosts"]),
        )
        recipe, work = self._recipe, self._work
        self._say(f"{ranks.named}: ranks {_span(ranks)} of {ranks.count}, {attempt.name}")

        def look(_: Path) -> None:
            now = time.monotonic()
            if now < self._next_look:
                return
            self._next_look = now + _SECONDS_BETWEEN_LOOKS
            self._expect_leader()
            if self._is_over(number):
                raise _Over

        try:
            if ranks.address in local_addresses():
                # msrun would start a second scheduler, for this host's ranks alone.
                raise InputError(
                    f"host 0's address {ranks.address} is one of {ranks.named} too, as a bridge's "
                    "of containers: start host 0 with another --master, one of their network"
                )
            fixed = None if work.counts_alone else recipe.fixed_threads
            with self._devices() as held:
                join_job(
                    work.module,
                    attempt,
                    ranks,
                    threads=fixed or int(read_json(attempt / REQUEST)["threads"]),
                    env=held.environment,
                    on_look=look,
                    keep_open=held.handles,
                    patience=patience_of(recipe),
                    grace_seconds=work.grace_seconds,
                    counts_alone=work.counts_alone,
                )
            said = None
        except _Over:
            said = None
        except Stopped as stopped:
            said = _report(stopped) if work.counts_alone else None
        except MixnetError as failed:
            error = _cut_off(failed, ranks) or failed
            self._say(f"{ranks.named} stopped: {error}")
            said = _report(error)
        except Exception:
            # Of the leader.
            raise
        except BaseException as interruption:
            if stopping.requested(attempt) is not None and stopping.heeds(attempt):
                self._raise_saved(interruption)
            raise
        self._note(done=number, error=said)

    def _devices(self) -> AbstractContextManager[HeldDevices]:
        if self._held is not None:
            return nullcontext(self._held)
        # Host 0 has its own by now, and does this part too where these are not free soon.
        return self._hold(wait_seconds=_SECONDS_FOR_DEVICES)

    def _raise_saved(self, interruption: BaseException) -> NoReturn:
        """Raises what interrupted this host, with `Stopped` as its cause if host 0 saved."""
        until = time.monotonic() + self._recipe.devices.grace_seconds
        while time.monotonic() < until and not self._lease.has_ended:
            time.sleep(_POLL_SECONDS)
        failed = (said_in(self._lease.owner).get("end") or {}).get("error")
        error = same_error(failed) if failed else None
        raise interruption from (error if isinstance(error, Stopped) else None)

    def _is_over(self, number: int) -> bool:
        said = said_in(self._lease.owner)
        newest = int(said.get("attempt", 0))
        # A host that was suspended may have been given up meanwhile.
        ended = newest > number or (newest == number and said.get("over") is True)
        return said.get("end") is not None or ended

    def _is_in(self, plan: Mapping[str, Any]) -> bool:
        return self._ranks.host in plan["hosts"]

    def _expect_leader(self) -> None:
        self._expect_session()
        limit = self._recipe.devices.lost_seconds
        if self._lease.is_lost:
            raise _LeaderLost(f"{owner_of(self._lease.next)} leads now")
        if self._watch.silent() >= limit:
            raise _LeaderLost(
                f"host 0 of {self._ranks.hosts} has given no sign of life for {limit:g} s"
            )

    def _expect_session(self) -> None:
        # Two that begin at once do not see each other: the one that said so last goes on.
        said = said_in(self._lease.host(self._ranks.host))
        if said and said.get("session") != self._state["session"]:
            raise _twice(said, self._ranks)

    def _note(self, **more: Any) -> None:
        self._expect_session()
        self._state |= more
        say_in(self._lease.host(self._ranks.host), self._state)


def _report(error: MixnetError) -> dict[str, Any]:
    """Returns an error as host 0 raises it again."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "retryable": error.retryable,
        "of_peer": getattr(error, "of_peer", False),
    }


def _result(end: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the leader ended with, or raises it."""
    if failed := end.get("error"):
        raise same_error(failed)
    result: dict[str, Any] = end["result"]
    return result


def _cut_off(failed: MixnetError, ranks: HostRanks) -> JobFailed | None:
    """Returns the error for a job that failed while this host does not reach host 0.

    None where it does. It says more than what MindSpore makes of it.
    """
    if type(failed) is not JobFailed or ranks.port is None:
        return None
    try:
        with socket.create_connection((ranks.address, ranks.port), _SECONDS_TO_CONNECT):
            return None
    except ConnectionRefusedError:
        # Its scheduler has ended, and the host says so.
        return None
    except OSError as error:
        return JobFailed(
            f"does not reach host 0 at {ranks.address}:{ranks.port} ({error.strerror or error}): "
            f"look at the network between them; {AGAIN}",
            retryable=True,
        )


def _span(ranks: HostRanks) -> str:
    first, last = ranks.here.start, ranks.here.stop - 1
    return f"{first}" if first == last else f"{first} to {last}"
