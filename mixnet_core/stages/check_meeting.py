"""Where hosts that are checked together meet, and what they tell each other.

In the workspace, as hosts that train do (`runs.lease`), by files that each replaces:

    check-hosts/hosts/lease-000001/
        owner.json   host 0: "told", "session", "address"; then "plan": {host -> session, place};
                     "collective": where it is joined, and "over"; "end": the results, or an error
        host-1.json  another: "told", "session", "place"; then "facts", "ways" with "blind" and
                     "held", and "collective"; "left": why it ended
        lock         locked by host 0 as long as it lives

And by TCP where host 0 listens, which tells a host that is away from one that has another disk.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from mixnet_core.errors import MachineError
from mixnet_core.host.link import Listener
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.lease import say_in
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.stages.check_facts import Facts, facts_here
from mixnet_core.stages.check_links import Place
from mixnet_core.stages.check_result import CheckResult

# Host 0's, where --master names none.
PORT = 29519
# Whoever says hello is told nothing but whether it sees the same folder.
HELLO_TOKEN = "check"
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Asked:
    """Holds what is checked, as every host was told.

    Attributes:
        ranks: which host this one is; `each` as the recipe says.
        recipe: None: whatever it will be.
        prepared: the dataset that is looked at instead of the recipe's source.
        checks: finds what `mixnet check` finds on this host.
        master: name or address of host 0 and the port, as --master says it; None: it does not.
        target: as devices.target, of the collective; None: it is not tried.
        lost_seconds: as devices.lost_seconds.
        say: is told what goes on, in a line.
    """

    ranks: HostRanks
    workspace: Workspace
    recipe: Recipe | None
    prepared: PreparedDataset | None
    checks: Callable[[], list[CheckResult]]
    master: tuple[str, int | None] | None
    target: str | None
    lost_seconds: float
    say: Callable[[str], None]
    session: str = field(default_factory=lambda: uuid4().hex)

    @property
    def run(self) -> RunDir:
        """Returns the folder in which hosts meet; it is no run."""
        return RunDir(self.workspace.root / "check-hosts")

    @property
    def told(self) -> dict[str, Any]:
        """Returns what all have to be told alike: JSON values."""
        return {
            "hosts": self.ranks.hosts,
            "ranks": self.ranks.each,
            "recipe": self.recipe.fingerprint[:8] if self.recipe else None,
            "dataset": self.prepared.root if self.prepared else None,
            "collective": self.target,
        }

    def facts(self) -> Facts:
        """Returns what this host says of itself."""
        return facts_here(self.workspace, self.recipe, self.prepared, self.checks)


class Note:
    """Holds what a host says in its file, which it replaces.

    Args:
        path: of the file.
        said: what stands there and stays.
    """

    def __init__(self, path: Path, said: Mapping[str, Any]) -> None:
        self._path = path
        self._said: dict[str, Any] = dict(said)

    def add(self, **more: Any) -> None:
        """Says something more: JSON values.

        Raises:
            MachineError: it cannot be written.
        """
        self._said |= more
        say_in(self._path, self._said)

    def add_last(self, **more: Any) -> None:
        """Says why this host ends; where nothing can be written, the others miss it."""
        with suppress(MachineError):
            self.add(**more)


@contextmanager
def listening(address: str) -> Iterator[Place | None]:
    """Listens for the other hosts' questions; None where the address is not this host's (now)."""
    token = uuid4().hex
    try:
        listener = Listener(address, token)
    except OSError:
        yield None
        return
    with listener:
        yield Place(address=address, port=listener.port, token=token)


def address_towards(address: str) -> str:
    """Returns this host's address in the network of another one's."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as trial, suppress(OSError):
        # Sends nothing: it asks for the way.
        trial.connect((address, PORT))
        return str(trial.getsockname()[0])
    # No way there: its address is said all the same, for others to miss it by.
    rows = [row for rows in psutil.net_if_addrs().values() for row in rows]
    own = [row.address.partition("%")[0] for row in rows if row.family == family]
    return next((each for each in own if each not in ("127.0.0.1", "::1")), "127.0.0.1")


def waited(until: float) -> bool:
    """Waits a moment; tells whether the time has come.

    Args:
        until: by `time.monotonic`.
    """
    time.sleep(POLL_SECONDS)
    return time.monotonic() > until


def places_of(plan: Mapping[str, Any]) -> dict[int, Place]:
    """Returns where the hosts of a plan listen, of those that can; the plan is as JSON says it."""
    return {
        int(host): Place.model_validate(said["place"])
        for host, said in plan.items()
        if said["place"] is not None
    }
