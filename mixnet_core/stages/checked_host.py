"""Looks at another of the hosts that are checked together, by what it says of itself."""

from __future__ import annotations

from typing import Any

from mixnet_core.runs.lease import Lease, said_in
from mixnet_core.runs.pulse import PulseWatch
from mixnet_core.stages.check_collective import Failure


class CheckedHost:
    """Knows what a host has said so far, and whether it lives; `has_said` looks.

    Args:
        host: its number.
        lease: under which all meet.
        lost_seconds: after so much silence it is lost.

    Attributes:
        host: its number.
        session: of its process; None before it came.
        lost: what became of it; "" as long as nothing did.
    """

    def __init__(self, host: int, lease: Lease, lost_seconds: float) -> None:
        self.host, self._lease, self._lost_seconds = host, lease, lost_seconds
        self.session: str | None = None
        self.lost = ""
        self._watch = PulseWatch(lease.pulse(host))
        self._said: dict[str, Any] = {}

    @property
    def is_here(self) -> bool:
        """Tells whether it came: the lease is this check's, and nobody else wrote there."""
        return self.session is not None

    def has_said(self, what: str) -> bool:
        """Looks once; tells whether it lives and has said something."""
        said = said_in(self._lease.host(self.host))
        silent = self._watch.silent()
        if said and said.get("session") != self.session:
            if self.is_here:
                self.lost = "was started anew meanwhile"
                return False
            self.session, self._watch = said["session"], PulseWatch(self._lease.pulse(self.host))
        self._said = said or self._said
        if self._said.get("left"):
            self.lost = f"ended: {self._said['left']}"
        elif self.is_here and silent >= self._lost_seconds:
            self.lost = f"has given no sign of life for {self._lost_seconds:g} s"
        return not self.lost and self.is_here and what in self._said

    def said(self, what: str) -> Any:
        """Returns what it said when it was last looked at."""
        return self._said.get(what)

    def failure(self) -> Failure | None:
        """Returns why its part of the collective failed; None if it did not."""
        said = (self._said.get("collective") or {}).get("failure")
        return Failure.model_validate(said) if said else None
