"""Checks between hosts, before they train together: each on its own, then all with each other.

The same command runs on each host. Host 0 waits for the others, has all measure the ways between
them, makes an all-reduce with them, and judges; every host ends with its results.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from mixnet_core.errors import MixnetError, TransientError
from mixnet_core.host.link import Listener
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.runs.lease import Lease, lease_held, said_in
from mixnet_core.stages.check_collective import (
    Failure,
    Meeting,
    clear_attempt,
    judge_collective,
    lead_collective,
    no_collective,
)
from mixnet_core.stages.check_compared import (
    judge_folder,
    judge_images,
    judge_presence,
    judge_told,
    judge_versions,
    merged,
)
from mixnet_core.stages.check_facts import Facts
from mixnet_core.stages.check_joining import join_check
from mixnet_core.stages.check_links import (
    ANSWER_SECONDS,
    Way,
    judge_clocks,
    judge_links,
    measure_ways,
)
from mixnet_core.stages.check_meeting import (
    HELLO_TOKEN,
    PORT,
    Asked,
    Note,
    listening,
    places_of,
    waited,
)
from mixnet_core.stages.check_result import CheckResult, failed
from mixnet_core.stages.checked_host import CheckedHost
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import shown_words

# What a host says that failed at the same moment explains more than that the others miss it.
_SECONDS_FOR_REPORTS = 10.0


def check_between(asked: Asked) -> list[CheckResult]:
    """Runs every check with the other hosts; what they find is returned, not raised.

    Returns:
        The same on every host.

    Raises:
        TransientError: another check or host 0 holds the workspace, or host 0 does not come.
        MachineError: the workspace cannot be written; or host 0's is another one.
        InputError: two hosts have one number.
    """
    if not asked.ranks.leads:
        return join_check(asked)
    told = {"told": asked.told, "session": asked.session, "address": asked.ranks.address}
    with (
        lease_held(asked.run, told, asked.say, lost_seconds=asked.lost_seconds) as lease,
        _locked(lease.folder / "lock"),
    ):
        host = _Host0(asked, lease)
        try:
            results = host.check()
        except BaseException as error:
            host.end(error=_said(error).model_dump())
            raise
        host.end(results=[result.model_dump(mode="json") for result in results])
        return results


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock that the others look for; without one they find it free, and say so."""
    with os_errors_explained(path):
        held = path.open("wb")
    with held:
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


class _Host0:
    """Leads a check."""

    def __init__(self, asked: Asked, lease: Lease) -> None:
        self._asked, self._lease, self._ranks = asked, lease, asked.ranks
        self._note = Note(lease.owner, said_in(lease.owner))
        self._others = [
            CheckedHost(host, lease, asked.lost_seconds) for host in self._others_numbers()
        ]
        # Of hosts that say hello and do not come: what their workspace is.
        self._elsewhere: dict[int, str] = {}

    def check(self) -> list[CheckResult]:
        """Returns what all found."""
        asked, ranks = self._asked, self._ranks
        with ExitStack() as stack:
            taken = self._meet(stack)
            place = stack.enter_context(listening(ranks.address))
            began = time.monotonic()
            own = asked.facts()
            self._gather("place", began)
            told = judge_told(asked.told, {each.host: each.said("told") for each in self._here()})
            if told:
                return [self._presence(), *told]
            if self._here():
                asked.say(f"{len(self._here()) + 1} of {ranks.hosts} hosts are here")
            self._gather("facts", time.monotonic())
            facts = {0: own} | {
                each.host: Facts.model_validate(each.said("facts")) for each in self._here()
            }
            plan = {
                str(each.host): {"session": each.session, "place": each.said("place")}
                for each in self._here()
            }
            own_place = place.model_dump() if place else None
            plan["0"] = {"session": asked.session, "place": own_place}
            self._note.add(plan=plan)
            places = places_of(plan)
            ways = {0: self._measured(places)}
            self._gather("ways", time.monotonic())
            ways |= {each.host: _ways(each.said("ways")) for each in self._here()}
        links = judge_links(ways, places)
        here = [0, *(each.host for each in self._here())]
        images = {host: said for host in here if (said := facts[host].images)}
        found = [
            self._presence(),
            judge_folder(
                {host: facts[host].workspace for host in here},
                own.file_system,
                {each.host: each.said("blind") for each in self._here()},
                {host: said for host, said in self._elsewhere.items() if host not in here},
                {each.host: each.said("held") for each in self._here()},
            ),
            judge_versions(facts),
            *([taken] if taken else []),
            *merged({host: facts[host].checks for host in sorted(facts)}),
            *([judge_images(images)] if images else []),
            judge_clocks(ways[0]),
            links,
        ]
        return [*found, self._collective(found)]

    def end(
        self, *, results: list[Any] | None = None, error: Mapping[str, Any] | None = None
    ) -> None:
        """Says to the others how it ended."""
        self._note.add_last(end={"results": results, "error": error})

    def _others_numbers(self) -> range:
        return range(1, self._ranks.hosts)

    def _here(self) -> list[CheckedHost]:
        return [each for each in self._others if each.is_here and not each.lost]

    def _meet(self, stack: ExitStack) -> CheckResult | None:
        """Listens for hosts that say hello; returns what keeps it from that, if it was asked."""
        port = self._ranks.port
        try:
            stack.enter_context(
                Listener(self._ranks.address, HELLO_TOKEN, port or PORT, hello=self._hear)
            )
        except OSError as error:
            if port is None:
                # Another check's, of another workspace.
                return None
            why = error.strerror or str(error)
            said = f"port {port} of {self._ranks.address} cannot be had ({why})"
            fix = "`ss -tlnp` says who has it; name another one in --master, or none"
            return failed("master", said, fix)
        return None

    def _hear(self, said: dict[str, Any], there: str) -> Mapping[str, Any]:
        host = said.get("host")
        if isinstance(host, int) and host in self._others_numbers():
            self._elsewhere[host] = f"{shown_words(str(said.get('workspace')))} at {there}"
        return {"session": self._asked.session}

    def _gather(self, what: str, began: float) -> None:
        """Waits until every host that is here, or is to come, has said something.

        Who does not in time is lost, unless it has yet to come.

        Args:
            began: when the limit begins.
        """
        until = began + self._ranks.join_seconds
        hosts = self._others if what == "place" else self._here()
        told_at = time.monotonic() + 2.0
        while missing := [each for each in hosts if not each.has_said(what)]:
            if told_at is not None and time.monotonic() > told_at and what == "place":
                numbers = ", ".join(str(each.host) for each in missing)
                self._asked.say(f"waiting for host {numbers} of {self._ranks.hosts}")
                told_at = float("inf")
            if waited(until):
                for each in missing:
                    if each.is_here:
                        each.lost = f"came and was not done within {self._ranks.join_seconds:g} s"
                break
            hosts = [each for each in hosts if not each.lost]

    def _measured(self, places: Mapping[int, Any]) -> dict[int, Way]:
        limit = min(ANSWER_SECONDS, self._ranks.join_seconds)
        return measure_ways(0, places, self._ranks.hosts, answer_seconds=limit)

    def _presence(self) -> CheckResult:
        lost = {each.host: each.lost for each in self._others if each.lost}
        # They are there, and see another folder: that is another result's.
        here = [0, *(each.host for each in self._here()), *self._elsewhere]
        return judge_presence(self._ranks.hosts, here, lost, self._ranks.join_seconds)

    def _collective(self, found: list[CheckResult]) -> CheckResult:
        target = self._asked.target
        if target is None:
            return no_collective("--no-collective")
        if len(self._here()) + 1 < self._ranks.hosts:
            return no_collective("hosts are missing")
        if bad := [each.name for each in found if not each.ok and each.name in _NEEDED]:
            return no_collective(f"see {', '.join(bad)}")
        self._asked.say("all-reduce over all hosts: MindSpore starts")
        ranks = HostRanks(
            1, self._ranks.hosts, 0, self._ranks.address, self._ranks.port, self._ranks.join_seconds
        )
        result, failures = None, {}
        try:
            result, attempt = lead_collective(
                *(self._asked.run.attempts("collective"), target, ranks, self._asked.say),
                self._start,
                self._look,
            )
        except _OtherFailed as failed_there:
            failures[failed_there.host] = failed_there.failure
        except MixnetError as error:
            failures[0] = Failure.of(error)
        self._note.add(over=True)
        until = time.monotonic() + _SECONDS_FOR_REPORTS
        while any(not each.has_said("collective") for each in self._here()) and not waited(until):
            pass
        for each in self._here():
            if failure := each.failure():
                failures[each.host] = failure
        if result is not None:
            clear_attempt(attempt)
        return judge_collective(result, failures, self._ranks.hosts)

    def _start(self, attempt: Path, ranks: HostRanks) -> None:
        assert ranks.port is not None
        meeting = Meeting(attempt=str(attempt), address=ranks.address, port=ranks.port)
        self._note.add(collective=meeting.model_dump())

    def _look(self) -> None:
        for each in self._here():
            each.has_said("collective")
            if each.lost:
                raise _OtherFailed(each.host, _transient(each.lost))
            if (failure := each.failure()) and not failure.of_peer:
                raise _OtherFailed(each.host, failure)


class _OtherFailed(Exception):
    """The collective failed on another host.

    Attributes:
        host: its number.
        failure: why.
    """

    def __init__(self, host: int, failure: Failure) -> None:
        super().__init__(host, failure)
        self.host, self.failure = host, failure


# Without these there is nothing to learn from a collective that fails.
_NEEDED = ("folder", "versions", "network", "packages", "msrun", "device", "master")


def _ways(said: Mapping[str, Any]) -> dict[int, Way]:
    return {int(other): Way.model_validate(way) for other, way in said.items()}


def _said(error: BaseException) -> Failure:
    if isinstance(error, MixnetError):
        return Failure.of(error)
    said = "was interrupted" if not isinstance(error, Exception) else f"failed ({error!r})"
    return _transient(f"host 0 {said}: start the check again on all hosts")


def _transient(message: str) -> Failure:
    return Failure(type=TransientError.__name__, message=message, retryable=True)
