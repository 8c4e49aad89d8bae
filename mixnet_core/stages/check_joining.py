"""A host of several that are checked together, and does not lead: does as host 0 plans it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mixnet_core.errors import InputError, MachineError, MixnetError, TransientError
from mixnet_core.host import link
from mixnet_core.host.file_system import is_locked
from mixnet_core.processes.failure import same_error
from mixnet_core.runs.lease import Lease, newest_lease, owner_of, said_in
from mixnet_core.runs.pulse import Pulse, PulseWatch
from mixnet_core.stages.check_collective import Failure, Meeting, join_collective
from mixnet_core.stages.check_compared import SAME_DISK
from mixnet_core.stages.check_facts import file_system_of
from mixnet_core.stages.check_links import ANSWER_SECONDS, Place, measure_ways
from mixnet_core.stages.check_meeting import (
    HELLO_TOKEN,
    PORT,
    Asked,
    Note,
    address_towards,
    listening,
    places_of,
    waited,
)
from mixnet_core.stages.check_result import CheckResult

_SECONDS_BETWEEN_HELLOS = 2.0


class _Over(Exception):
    """Host 0 says that the collective is over."""


def join_check(asked: Asked) -> list[CheckResult]:
    """Takes part in a check that host 0 leads; returns its results, as host 0 says them.

    Raises:
        TransientError: no host leads in time, or host 0 is lost.
        MachineError: host 0 answers, and its workspace is another folder.
        InputError: it was told another number of hosts, or another host has this one's number.
        MixnetError: what host 0 ended with.
    """
    lease, watch = _leader(asked)
    led = said_in(lease.owner)
    if (told := led["told"]["hosts"]) != asked.ranks.hosts:
        # It is not waited for, so nobody else would say it.
        raise InputError(
            f"host 0 was told --hosts {told}, {asked.ranks.named} otherwise: start the same "
            "command on all"
        )
    asked.say(f"{asked.ranks.named} follows {owner_of(lease)}")
    address = address_towards(str(led["address"]))
    with Pulse(lease.pulse(asked.ranks.host)), listening(address) as place:
        guest = _Guest(asked, lease, watch)
        try:
            return guest.take_part(place)
        except BaseException as error:
            guest.leave(error)
            raise


def _leader(asked: Asked) -> tuple[Lease, PulseWatch]:
    """Waits for a host 0 that lives; says hello to it meanwhile."""
    ranks = asked.ranks
    until = time.monotonic() + ranks.join_seconds
    watches: dict[int, PulseWatch] = {}
    next_hello, heard = time.monotonic() + _SECONDS_BETWEEN_HELLOS, ""
    while True:
        newest = newest_lease(asked.run)
        if newest is not None and not newest.has_ended:
            watch = watches.setdefault(newest.number, PulseWatch(newest.pulse(0)))
            watch.silent()
            if watch.has_grown:
                return newest, watch
        if waited(until):
            break
        if asked.master and time.monotonic() > next_hello:
            heard = _hello(asked)
            next_hello = time.monotonic() + _SECONDS_BETWEEN_HELLOS
    if heard == _ANSWERS:
        raise MachineError(
            f"host 0 of {ranks.hosts} answers at {_shown_place(asked)}, and is not seen in "
            f"{_workspace(asked)}: {SAME_DISK}"
        )
    said = f"; at {_shown_place(asked)}: {heard}" if heard else ""
    raise TransientError(
        f"host 0 of {ranks.hosts} has not joined within {ranks.join_seconds:g} s{said}; start the "
        "same command there, with --node-rank 0 and the same workspace on a disk that all hosts "
        "share"
    )


_ANSWERS = "it answers"


def _hello(asked: Asked) -> str:
    """Says hello to host 0; returns what came of it."""
    assert asked.master is not None
    name, port = asked.master
    said = {"host": asked.ranks.host, "workspace": _workspace(asked)}
    limit = min(ANSWER_SECONDS, asked.ranks.join_seconds)
    try:
        link.hello(name, port or PORT, HELLO_TOKEN, said, seconds=limit)
    except TimeoutError:
        return f"no answer within {limit:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return _ANSWERS


def _shown_place(asked: Asked) -> str:
    assert asked.master is not None
    name, port = asked.master
    return f"{name}:{port or PORT}"


def _workspace(asked: Asked) -> str:
    return f"{asked.workspace.root} ({file_system_of(asked.workspace)})"


class _Guest:
    """Follows host 0 to the check's end."""

    def __init__(self, asked: Asked, lease: Lease, watch: PulseWatch) -> None:
        self._asked, self._lease, self._watch = asked, lease, watch
        self._own = lease.host(asked.ranks.host)
        # Not what an earlier process said, which was ended.
        self._note = Note(self._own, {})

    def take_part(self, place: Place | None) -> list[CheckResult]:
        """Does what host 0 asks for, until it ends.

        Raises:
            MixnetError: as `join_check`.
        """
        self._note.add(
            session=self._asked.session,
            told=self._asked.told,
            place=place.model_dump() if place else None,
        )
        self._note.add(facts=self._asked.facts().model_dump(mode="json"))
        measured = joined = False
        while True:
            self._expect_leader()
            self._expect_alone()
            said = said_in(self._lease.owner)
            if said.get("end") is not None:
                return _results(said["end"])
            if said.get("plan") and not measured:
                measured = True
                self._measure(said["plan"])
            if said.get("collective") and not joined:
                joined = True
                self._join(Meeting.model_validate(said["collective"]))
            waited(0)

    def leave(self, error: BaseException) -> None:
        """Says why this host ends."""
        said = str(error) if isinstance(error, MixnetError) else type(error).__name__
        if self._is_own():
            self._note.add_last(left=said)

    def _measure(self, plan: Mapping[str, Any]) -> None:
        own = self._asked.ranks
        limit = min(ANSWER_SECONDS, own.join_seconds)
        ways = measure_ways(own.host, places_of(plan), own.hosts, answer_seconds=limit)
        # What a network's disk shows late is seen within its cache's time.
        until = time.monotonic() + own.join_seconds / 2
        while (blind := self._unseen(plan)) and not waited(until):
            pass
        self._note.add(
            ways={str(other): way.model_dump() for other, way in ways.items()},
            blind=blind,
            held=is_locked(self._lease.folder / "lock"),
        )

    def _unseen(self, plan: Mapping[str, Any]) -> list[int]:
        """Returns the hosts whose file is not seen as they wrote it."""
        unseen = []
        for host, expected in plan.items():
            path = self._lease.host(int(host)) if int(host) else self._lease.owner
            if said_in(path).get("session") != expected["session"]:
                unseen.append(int(host))
        return unseen

    def _join(self, meeting: Meeting) -> None:
        asked, target = self._asked, self._asked.target
        assert target is not None, "host 0 was told the same"
        failure: Failure | None = None
        try:
            join_collective(meeting, target, asked.ranks, asked.say, self._look)
        except _Over:
            pass
        except MixnetError as error:
            asked.say(f"{asked.ranks.named}: {error}")
            failure = Failure.of(error)
        self._note.add(collective={"failure": failure.model_dump() if failure else None})

    def _look(self) -> None:
        self._expect_leader()
        said = said_in(self._lease.owner)
        if said.get("over") or said.get("end") is not None:
            raise _Over

    def _expect_leader(self) -> None:
        limit = self._asked.lost_seconds
        if self._lease.is_lost or self._watch.silent() >= limit:
            raise TransientError(
                f"host 0 of {self._asked.ranks.hosts} has given no sign of life for {limit:g} s: "
                "look at it, then start the check again on all"
            )

    def _expect_alone(self) -> None:
        if not self._is_own():
            raise InputError(
                f"another host says that it is {self._asked.ranks.named} too: give each its own "
                "--node-rank"
            )

    def _is_own(self) -> bool:
        said = said_in(self._own)
        return not said or said.get("session") == self._asked.session


def _results(end: Mapping[str, Any]) -> list[CheckResult]:
    if failed := end.get("error"):
        raise same_error(failed)
    return [CheckResult.model_validate(said) for said in end["results"]]
