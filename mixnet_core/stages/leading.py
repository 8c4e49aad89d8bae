"""Host 0 of several: waits for the others, plans each attempt, and ends it for all.

How they speak to each other is `runs.lease`: files in the run's folder. One host that fails, ends
or falls silent ends the attempt of all; the next one waits until every host is ready again.

Where training has `devices.min_hosts`, it goes on after `devices.join_seconds` with those that
are ready. One that is there again says so as at first: the attempt then saves and ends after its
step, and the next one is made with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mixnet_core.errors import (
    JobFailed,
    MachineError,
    MixnetError,
    Stopped,
    TransientError,
)
from mixnet_core.processes import stopping
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.lease import Lease, lease_held, newest_lease, owner_of, said_in, say_in
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.stages.joint_work import Work, told_to
from mixnet_core.stages.other_host import SECONDS_FOR_REPORTS, HostFailed, OtherHost

_POLL_SECONDS = 0.2
# A look reads a file or two of each host on a network's disk.
_SECONDS_BETWEEN_LOOKS = 1.0

Look = Callable[[Path], None]


class Leader:
    """Has all hosts make an attempt together; does nothing where there is one host.

    Args:
        work: what they do.
        lost_seconds: a host that is silent for so long is lost.
        ranks: host 0's.
        lease: that it holds; None: it is alone, and nobody ever trained this run with others.
        told: as the other hosts have to be told too.
        say: is told what goes on, in a line.

    Attributes:
        ranks: of this host, among those of the hosts that make the next attempt.
    """

    def __init__(
        self,
        work: Work,
        lost_seconds: float,
        ranks: HostRanks,
        lease: Lease | None,
        told: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        self.ranks = ranks
        self._work, self._lost_seconds = work, lost_seconds
        self._lease, self._say = lease, say
        hosts = [host for host in ranks.at_work if host != ranks.host] if lease else ()
        self._others = [OtherHost(host, ranks.hosts, lease, told) for host in hosts if lease]
        self._attempt = 0
        self._folder: Path | None = None
        self._state: dict[str, Any] = said_in(lease.owner) if lease else {}
        self._next_look = 0.0

    def gather(self) -> None:
        """Returns when every host is ready for the next attempt, or as many as may do without.

        Raises:
            TransientError: too few have joined in time, or another host leads by now.
            Stopped: it is asked to end meanwhile, as by `mixnet drain`.
            InputError: one was told otherwise than this host.
        """
        self.expect_lease()
        if not self._others:
            return
        began = time.monotonic()
        said = False
        while missing := [each for each in self._others if not each.is_ready(self._attempt)]:
            self.expect_lease()
            stopping.expect_none(self._folder)
            is_late = time.monotonic() > began + self._work.join_seconds
            if self._work.most(1 + len(self._others) - len(missing)) and (
                is_late or not any(self._may_come(each) for each in missing)
            ):
                break
            if is_late:
                raise TransientError(self._missing(missing))
            if not said and time.monotonic() > began + 2 * _SECONDS_BETWEEN_LOOKS:
                self._say(f"waiting for {_named(missing, self.ranks)}")
                said = True
            time.sleep(_POLL_SECONDS)
        for each in missing:
            each.give_up()
        self._take([each for each in self._others if each not in missing])

    def _take(self, ready: list[OtherHost]) -> None:
        """Decides with whom the next attempt is made, and says so where it was otherwise."""
        before = self.ranks.at_work if self._attempt else ()
        taken = ready[: self._work.most(1 + len(ready)) - 1]
        among = (0, *(each.host for each in taken))
        self.ranks = replace(self.ranks, among=among)
        if among == before:
            return
        if without := [each for each in self._others if each not in taken]:
            self._say(self._work.without.format(_named(without, self.ranks)))
        else:
            hosts = self.ranks.hosts
            count = "all" if len(among) == hosts else f"{len(among)} of"
            self._say(f"{count} {hosts} hosts are here")

    def _may_come(self, other: OtherHost) -> bool:
        """Tells whether a host is worth waiting for: not one that was given up, and is silent."""
        there = other.is_there()
        return there or not self._attempt or other.host in self.ranks.at_work

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
        self._attempt, self._folder = self._attempt + 1, attempt
        plan = {
            "attempt": str(attempt),
            "address": ranks.address,
            "port": ranks.port,
            "hosts": ranks.at_work,
        }
        self._tell(attempt=self._attempt, plan=plan, over=False)

    def looking(self, then: Look) -> Look:
        """Returns what looks at the other hosts too, a call a look; for `run_job`'s `on_look`."""

        def look(attempt: Path) -> None:
            then(attempt)
            now = time.monotonic()
            if now < self._next_look:
                return
            self._next_look = now + _SECONDS_BETWEEN_LOOKS
            self.expect_lease()
            back = []
            for other in self._others:
                if other.host in self.ranks.at_work:
                    other.expect_well(self._attempt, self._lost_seconds)
                elif other.is_there():
                    back.append(other)
            self._have_back(back, attempt)

        return look if self._lease is not None else then

    def _have_back(self, back: list[OtherHost], attempt: Path) -> None:
        """Has an attempt save and end, once it can, where more hosts could make the next one."""
        at_work = len(self.ranks.at_work)
        if self._work.most(at_work + len(back)) == at_work or not stopping.heeds(attempt):
            return
        # Where nothing can be written nothing can be saved: it is asked again then.
        with suppress(MachineError):
            if stopping.requested(attempt) is None:
                who = f"{_named(back, self.ranks)} {'are' if len(back) > 1 else 'is'} back"
                stopping.ask(attempt, who, goes_on=True)
                self._say(f"{who}: training saves after its step, and goes on with all there are")

    def wait_for_others(self) -> None:
        """Returns when the other hosts' ranks are through with the attempt too.

        Raises:
            JobFailed: those of one have failed, or it is silent.
            TransientError: another host leads by now.
        """
        at_work = [each for each in self._others if each.host in self.ranks.at_work]
        while not all(each.is_through(self._attempt) for each in at_work):
            self.expect_lease()
            for each in at_work:
                each.expect_well(self._attempt, self._lost_seconds)
            time.sleep(_POLL_SECONDS)

    @property
    def goes_on(self) -> bool:
        """Tells whether the newest attempt was asked to end for the sake of the next one only."""
        wish = stopping.requested(self._folder) if self._folder is not None else None
        return wish is not None and wish.goes_on

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

    def expect_lease(self) -> None:
        """Raises TransientError if another host leads by now."""
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
        until = time.monotonic() + SECONDS_FOR_REPORTS
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

    def _missing(self, missing: list[OtherHost]) -> str:
        have = "has" if len(missing) == 1 else "have"
        return (
            f"{_named(missing, self.ranks)} {have} not joined within "
            f"{self._work.join_seconds:g} s: start the same command there, with its --node-rank "
            "and the same workspace on a disk that all hosts share"
        )


@contextmanager
def led(
    run: RunDir, recipe: Recipe, ranks: HostRanks, say: Callable[[str], None], work: Work
) -> Iterator[Leader]:
    """Leads the hosts of a run for the block; says to them if it fails.

    What it succeeds with the block tells (`Leader.end`).

    Args:
        ranks: host 0's.
        say: is told what goes on, in a line.
        work: what they do.

    Raises:
        TransientError: another host leads the run.
        MachineError: the run's folder cannot be written.
    """
    told, lost_seconds = told_to(recipe, run, ranks, work), recipe.devices.lost_seconds
    if ranks.hosts == 1 and newest_lease(run) is None:
        yield Leader(work, lost_seconds, ranks, None, told, say)
        return
    told_first = told | {"stage": work.stage}
    with lease_held(run, told_first, say, lost_seconds=lost_seconds) as lease:
        leader = Leader(work, lost_seconds, ranks, lease, told, say)
        try:
            yield leader
        except BaseException as error:
            leader.end(None, error)
            raise


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


def _named(others: list[OtherHost], ranks: HostRanks) -> str:
    numbers = ", ".join(str(other.host) for other in others)
    return f"host{'s' if len(others) > 1 else ''} {numbers} of {ranks.hosts}"
