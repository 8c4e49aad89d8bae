"""Host 0 of several: waits for the others, plans each attempt, and ends it for all.

How they speak to each other is `runs.lease`: files in the run's folder. One host that fails, ends
or falls silent ends the attempt of all; the next one waits until every host is ready again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from mixnet_core.errors import (
    InputError,
    JobFailed,
    MachineError,
    MixnetError,
    Stopped,
    TransientError,
)
from mixnet_core.processes import stopping
from mixnet_core.processes.failure import same_error
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.lease import Lease, lease_held, newest_lease, owner_of, said_in, say_in
from mixnet_core.runs.pulse import PulseWatch
from mixnet_core.runs.run_dir import RunDir

_POLL_SECONDS = 0.2
# A look reads a file or two of each host on a network's disk.
_SECONDS_BETWEEN_LOOKS = 1.0
# What a host says that failed at the same moment explains more than that the others miss it.
_SECONDS_FOR_REPORTS = 5.0
# A host whose pulse stands still for longer is not ready; it may still come back.
_SECONDS_OF_LIFE = 5.0

Look = Callable[[Path], None]


class Leader:
    """Has all hosts make an attempt together; does nothing where there is one host.

    Args:
        ranks: host 0's.
        lease: that it holds; None: it is alone, and nobody ever trained this run with others.
        told: as the other hosts have to be told too.
        lost_seconds: after so much silence a host is lost.
        say: is told what goes on, in a line.

    Attributes:
        ranks: of this host.
    """

    def __init__(
        self,
        ranks: HostRanks,
        lease: Lease | None,
        told: Mapping[str, Any],
        lost_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self.ranks = ranks
        self._lease, self._lost_seconds, self._say = lease, lost_seconds, say
        self._others = (
            [_Other(host, lease, ranks, told) for host in range(1, ranks.hosts)] if lease else []
        )
        self._attempt = 0
        self._folder: Path | None = None
        self._state: dict[str, Any] = said_in(lease.owner) if lease else {}
        self._next_look = 0.0

    def gather(self) -> None:
        """Returns when every host is ready for the next attempt.

        Raises:
            TransientError: one has not joined in time, or another host leads by now.
            Stopped: it is asked to end meanwhile, as by `mixnet drain`.
            InputError: one was told otherwise than this host.
        """
        self._expect_lease()
        if not self._others:
            return
        began = time.monotonic()
        said = False
        while missing := [each for each in self._others if not each.is_ready(self._attempt)]:
            self._expect_lease()
            stopping.expect_none(self._folder)
            if time.monotonic() > began + self.ranks.join_seconds:
                raise TransientError(self._missing(missing))
            if not said and time.monotonic() > began + 2 * _SECONDS_BETWEEN_LOOKS:
                self._say(f"waiting for {_named(missing, self.ranks)}")
                said = True
            time.sleep(_POLL_SECONDS)
        if not self._attempt:
            self._say(f"all {self.ranks.hosts} hosts are here")

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Ends the attempt that the block makes for all hosts, when it ends on this one."""
        try:
            yield
        except MixnetError as failed:
            cause = self._cause(failed)
            if cause is failed:
                raise
            # What was saved for a host that is lost is no end: nobody asked for one.
            raise cause from (None if isinstance(failed, Stopped) else failed)
        finally:
            # On a full disk nobody hears it: the others miss rank 0 then.
            with suppress(MachineError):
                self._tell(over=True)

    def start(self, attempt: Path, ranks: HostRanks) -> None:
        """Has the other hosts start their ranks; for `run_job`'s `on_start`."""
        if self._lease is None:
            return
        self._attempt += 1
        self._folder = attempt
        plan = {"attempt": str(attempt), "address": ranks.address, "port": ranks.port}
        self._tell(attempt=self._attempt, plan=plan, over=False)

    def looking(self, then: Look) -> Look:
        """Returns what looks at the other hosts too, a call a look; for `run_job`'s `on_look`."""

        def look(attempt: Path) -> None:
            then(attempt)
            now = time.monotonic()
            if now < self._next_look:
                return
            self._next_look = now + _SECONDS_BETWEEN_LOOKS
            self._expect_lease()
            for other in self._others:
                other.expect_well(self._attempt, self._lost_seconds)

        return look if self._lease is not None else then

    def end(self, result: Mapping[str, Any] | None, error: BaseException | None) -> None:
        """Says how it all ended.

        Args:
            result: of training; None where it failed.
            error: why.
        """
        with suppress(MachineError):
            self._tell(end={"result": result, "error": _said(error)})

    def _tell(self, **more: Any) -> None:
        if self._lease is not None:
            self._state |= more
            say_in(self._lease.owner, self._state)

    def _expect_lease(self) -> None:
        if self._lease is not None and self._lease.is_lost:
            raise TransientError(
                f"{owner_of(self._lease.next)} leads this run now: this host was silent for too "
                "long, as when it was suspended"
            )

    def _cause(self, failed: MixnetError) -> MixnetError:
        """Returns what another host says of its end, where this one only missed it."""
        if isinstance(failed, Stopped):
            return self._lost() or failed
        if not getattr(failed, "of_peer", False) or isinstance(failed, HostFailed):
            return failed
        until = time.monotonic() + _SECONDS_FOR_REPORTS
        while self._others and time.monotonic() < until:
            for other in self._others:
                report = other.failure(self._attempt)
                if report is not None and not getattr(report, "of_peer", False):
                    return report
            time.sleep(_POLL_SECONDS)
        return failed

    def _lost(self) -> MixnetError | None:
        """Returns the error of an attempt that was saved because a host is gone; None if not so."""
        wish = stopping.requested(self._folder) if self._folder is not None else None
        if self._folder is None or wish is None or wish.lost is None:
            return None
        stopping.take_back(self._folder)
        return HostFailed(
            f"host {wish.lost} of {self.ranks.hosts} is gone, its mixnet was killed there: trying "
            "again helps once it is back",
            retryable=True,
        )

    def _missing(self, missing: list[_Other]) -> str:
        have = "has" if len(missing) == 1 else "have"
        return (
            f"{_named(missing, self.ranks)} {have} not joined within "
            f"{self.ranks.join_seconds:g} s: start the same command there, with its --node-rank "
            "and the same workspace on a disk that all hosts share"
        )


class HostFailed(JobFailed):
    """A job's ranks on another host ended."""


class _Other:
    """Looks at another host.

    Attributes:
        host: its number.
    """

    def __init__(self, host: int, lease: Lease, own: HostRanks, told: Mapping[str, Any]) -> None:
        self.host, self._lease, self._told = host, lease, told
        self._named = f"host {host} of {own.hosts}"
        self._watch = PulseWatch(lease.pulse(host))
        self._session: str | None = None
        # When it was first seen that it only misses somebody.
        self._misses_since: float | None = None

    def is_ready(self, done: int) -> bool:
        """Tells whether it lives, and is through with so many attempts.

        Raises:
            InputError: it was told otherwise.
        """
        said = said_in(self._lease.host(self.host))
        if not said or said.get("left"):
            return False
        for name, value in self._told.items():
            if said.get(name) != value:
                raise InputError(
                    f"{self._named} has {name} {said.get(name)}, host 0 has {value}: start all "
                    "hosts with the same"
                )
        if said.get("done") != done:
            return False
        self._misses_since = None
        if said.get("session") != self._session:
            # A file that an earlier process left counts for nothing until its pulse beats.
            self._session, self._watch = said["session"], PulseWatch(self._lease.pulse(self.host))
        silent = self._watch.silent()
        return self._watch.has_grown and silent < _SECONDS_OF_LIFE

    def failure(self, attempt: int) -> MixnetError | None:
        """Returns what it says of an attempt that failed there; None if nothing."""
        said = said_in(self._lease.host(self.host))
        if said.get("session") != self._session or said.get("done") != attempt:
            return None
        failed = said.get("error")
        if not isinstance(failed, dict):
            return None
        error = same_error(failed)
        if failed["type"] != JobFailed.__name__:
            # Foreseen: it says all there is to know.
            return error
        return HostFailed(
            f"{self._named}: {error}", retryable=error.retryable, of_peer=failed["of_peer"]
        )

    def expect_well(self, attempt: int, lost_seconds: float) -> None:
        """Raises what is wrong with it during an attempt.

        Raises:
            JobFailed: it failed, ended, was started anew, or is silent.
        """
        silent = self._watch.silent()
        said = said_in(self._lease.host(self.host))
        if (failed := self.failure(attempt)) is not None:
            now = time.monotonic()
            self._misses_since = self._misses_since or now
            if not getattr(failed, "of_peer", False) or (
                now > self._misses_since + _SECONDS_FOR_REPORTS
            ):
                raise failed
        if said and said.get("session") != self._session:
            raise HostFailed(f"{self._named} was started anew: trying again helps", retryable=True)
        if said.get("left"):
            raise HostFailed(
                f"{self._named} ended ({said['left']}): trying again helps once it is back",
                retryable=True,
            )
        if silent >= lost_seconds:
            raise HostFailed(
                f"{self._named} has given no sign of life for {lost_seconds:g} s: trying again "
                "helps once it is back",
                retryable=True,
            )


@contextmanager
def led(
    run: RunDir, recipe: Recipe, ranks: HostRanks, say: Callable[[str], None]
) -> Iterator[Leader]:
    """Leads the hosts of a run's training for the block; says to them if it fails.

    What it succeeds with the block tells (`Leader.end`).

    Args:
        ranks: host 0's.
        say: is told what goes on, in a line.

    Raises:
        TransientError: another host leads the run.
        MachineError: the run's folder cannot be written.
    """
    told = told_to(recipe, run, ranks)
    lost = recipe.devices.lost_seconds
    if ranks.hosts == 1 and newest_lease(run) is None:
        yield Leader(ranks, None, told, lost, say)
        return
    with lease_held(run, told, say, lost_seconds=lost) as lease:
        leader = Leader(ranks, lease, told, lost, say)
        try:
            yield leader
        except BaseException as error:
            leader.end(None, error)
            raise


def told_to(recipe: Recipe, run: RunDir, ranks: HostRanks) -> dict[str, Any]:
    """Returns what all hosts have to be told alike, for a comparison: JSON values."""
    return {
        "hosts": ranks.hosts,
        "ranks": ranks.each,
        "recipe": recipe.fingerprint[:8],
        "run": str(run.root),
        "mindspore": metadata.version("mindspore"),
    }


def _said(error: BaseException | None) -> dict[str, Any] | None:
    """Returns an error as other hosts raise it again; None for none."""
    if error is None:
        return None
    if isinstance(error.__cause__, Stopped):
        error = error.__cause__
    if isinstance(error, MixnetError):
        kind = JobFailed if isinstance(error, HostFailed) else type(error)
        return {
            "type": kind.__name__,
            "message": str(error),
            "retryable": error.retryable,
        }
    said = "was interrupted" if not isinstance(error, Exception) else f"failed ({error!r})"
    message = f"host 0 {said}: start it again, as this one"
    return {"type": TransientError.__name__, "message": message, "retryable": True}


def _named(others: list[_Other], ranks: HostRanks) -> str:
    numbers = ", ".join(str(other.host) for other in others)
    return f"host{'s' if len(others) > 1 else ''} {numbers} of {ranks.hosts}"
