"""Another host of several, as the one that leads sees it: by what it says of itself, and its pulse.

Both are files of the leader's lease (`runs.lease`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mixnet_core.errors import InputError, JobFailed, MixnetError
from mixnet_core.processes.failure import same_error
from mixnet_core.runs.lease import Lease, said_in
from mixnet_core.runs.pulse import PulseWatch

# What a host says that failed at the same moment explains more than that the others miss it.
SECONDS_FOR_REPORTS = 5.0
# A host whose pulse stands still for longer is not ready; it may still come back.
_SECONDS_OF_LIFE = 5.0


class HostFailed(JobFailed):
    """A job's ranks on another host ended."""


class OtherHost:
    """Looks at another host.

    Args:
        host: its number.
        hosts: how many there are.
        lease: the leader's.
        told: what it has to be told too.

    Attributes:
        host: its number.
        named: among the others, as in "host 1 of 2".
    """

    def __init__(self, host: int, hosts: int, lease: Lease, told: Mapping[str, Any]) -> None:
        self.host, self._lease, self._told = host, lease, told
        self.named = f"host {host} of {hosts}"
        self._watch = PulseWatch(lease.pulse(host))
        self._session: str | None = None
        # When it was first seen that it only misses somebody.
        self._misses_since: float | None = None
        # What it said when it was given up though it lives.
        self._given_up: Mapping[str, Any] | None = None

    def is_ready(self, done: int) -> bool:
        """Tells whether it lives, and is through with so many attempts.

        Raises:
            InputError: it was told otherwise.
        """
        said = said_in(self._lease.host(self.host))
        if not said or said.get("left"):
            return False
        expect_told_alike(self.named, said, self._told)
        if said.get("done") != done:
            return False
        self._misses_since = None
        return self._lives(said)

    def is_there(self) -> bool:
        """Tells whether it lives, and may become ready; to be called every few seconds."""
        said = said_in(self._lease.host(self.host))
        lives = bool(said) and not said.get("left") and self._lives(said)
        return lives and said != self._given_up

    def give_up(self) -> None:
        """Notes that it has not become ready: one that lives all the same hangs.

        Until it says something else it is not there: an attempt that is ended to have it back would
        wait for it in vain, and so would each one after that.
        """
        if self.is_there():
            self._given_up = said_in(self._lease.host(self.host))

    def _lives(self, said: Mapping[str, Any]) -> bool:
        if said.get("session") != self._session:
            # A file that an earlier process left counts for nothing until its pulse beats.
            self._session, self._watch = said["session"], PulseWatch(self._lease.pulse(self.host))
        silent = self._watch.silent()
        return self._watch.has_grown and silent < _SECONDS_OF_LIFE

    def is_through(self, attempt: int) -> bool:
        """Tells whether its ranks have done their part of an attempt."""
        said = said_in(self._lease.host(self.host))
        ours = said.get("session") == self._session
        return ours and said.get("done") == attempt and said.get("error") is None

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
            f"{self.named}: {error}", retryable=error.retryable, of_peer=failed["of_peer"]
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
                now > self._misses_since + SECONDS_FOR_REPORTS
            ):
                raise failed
        if said and said.get("session") != self._session:
            raise HostFailed(f"{self.named} was started anew: trying again helps", retryable=True)
        if said.get("left"):
            raise HostFailed(
                f"{self.named} ended ({said['left']}): trying again helps once it is back",
                retryable=True,
            )
        if silent >= lost_seconds:
            raise HostFailed(
                f"{self.named} has given no sign of life for {lost_seconds:g} s: trying again "
                "helps once it is back",
                retryable=True,
            )


def expect_told_alike(named: str, said: Mapping[str, Any], by_leader: Mapping[str, Any]) -> None:
    """Returns if a host was told what the leader was told.

    Args:
        named: the host.
        said: what it was told, and more.
        by_leader: what the leader was told.

    Raises:
        InputError: it was told otherwise.
    """
    for name, value in by_leader.items():
        if said.get(name) != value:
            raise InputError(
                f"{named} has {name} {said.get(name)}, host 0 has {value}: start all hosts with "
                "the same"
            )
