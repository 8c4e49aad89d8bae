"""Which of a job's ranks are this host's, and where the ranks of all hosts meet.

msrun numbers ranks over hosts: rank = place x ranks of a host + number on the host, where the
place is the host's among those that take part. Only the host that has the address starts
MindSpore's scheduler.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mixnet_core.processes.rank_logs import log_of_host

# In the environment of every process of a job of several hosts: the host's number. Hosts that are
# network namespaces of one machine see each other's processes.
HOST_VARIABLE = "MIXNET_HOST"


@dataclass(frozen=True)
class HostRanks:
    """Says which ranks one of several hosts starts; as it is by itself: one host, one rank.

    Attributes:
        each: ranks on every host.
        hosts: how many hosts there are.
        host: this one's number, from 0; host 0 leads, and has rank 0.
        address: of host 0, where MindSpore's scheduler listens.
        port: the scheduler's; None: a free one, which host 0 finds.
        join_seconds: what MindSpore gives the ranks of other hosts to connect.
        among: the numbers of the hosts that take part, in order; None: all.
    """

    each: int = 1
    hosts: int = 1
    host: int = 0
    address: str = "127.0.0.1"
    port: int | None = None
    join_seconds: float = 120.0
    among: tuple[int, ...] | None = None

    @property
    def at_work(self) -> tuple[int, ...]:
        """Returns the numbers of the hosts that take part."""
        return tuple(range(self.hosts)) if self.among is None else self.among

    @property
    def place(self) -> int:
        """Returns this host's place among those that take part, from 0."""
        return self.at_work.index(self.host)

    @property
    def count(self) -> int:
        """Returns how many ranks there are on all hosts that take part."""
        return len(self.at_work) * self.each

    @property
    def here(self) -> range:
        """Returns this host's ranks."""
        return range(self.place * self.each, (self.place + 1) * self.each)

    @property
    def leads(self) -> bool:
        """Tells whether this host has rank 0, whose result is the job's."""
        return self.host == 0

    @property
    def named(self) -> str:
        """Names this host among others, as in "host 1 of 2"."""
        return f"host {self.host} of {self.hosts}"

    def log(self, attempt: Path) -> Path:
        """Returns the path of what this host's job prints, or its msrun."""
        return attempt / log_of_host(self.host)
