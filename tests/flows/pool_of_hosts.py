"""A server, and two hosts with a worker and a watch each: network namespaces of this machine.

The hosts have one network for the ranks (`tests.train.network`), and another one to the server.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.flows.conftest import PROJECT, asked, eventually
from tests.flows.host import Host, host
from tests.marked import VARIABLE
from tests.train import network
from tests.train.network import NotAllowed, ip

NAMES = ("first", "second")
# Between the hosts and the server.
_NETWORK = "10.84.0"
_UNDER_WAY = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]


@dataclass
class Pool(Host):
    """The server, `worker-first`, `watch-first`, `worker-second`, `watch-second`."""

    hosts: dict[str, network.Host] = field(default_factory=dict)

    def start(self, name: str, *more: str) -> None:
        program, _, which = name.partition("-")
        if not which:
            super().start(name, *more)
            return
        there = self.hosts[which]
        module = f"mixnet_flows.infra.{program}"
        own = ["--name", which, "--address", there.address]
        if program == "watch":
            own = ["--worker", which, "--seconds", "1"]
        environment = {
            **self.environment,
            VARIABLE: there.mark,
            # The server calls it online for three times as long, however busy this machine is.
            "PREFECT_WORKER_HEARTBEAT_SECONDS": "600",
            "MIXNET_CACHE": str(self.cache(f"worker-{which}")),
        }
        with (self.root / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [*there.within, sys.executable, "-m", module, *own, *more],
                cwd=PROJECT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        if program == "worker":
            eventually(lambda: which in self.online(), 60)

    def online(self) -> set[str]:
        found = asked("POST", f"{self.api}/work_pools/mixnet/workers/filter", {})
        return {worker["name"] for worker in found if worker["status"] == "ONLINE"}

    def start_host(self, name: str) -> None:
        self.start(f"worker-{name}")
        self.start(f"watch-{name}", "--pending-seconds", "5", "--cancelling-seconds", "5")

    def kill_host(self, name: str) -> None:
        """As a power cut: its worker, its watch, and all that the worker started."""
        self.hosts[name].kill()
        for program in ("worker", "watch"):
            if process := self.running.pop(f"{program}-{name}", None):
                process.wait(60)

    def flow_runs(self, **where: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = asked("POST", f"{self.api}/flow_runs/filter", where)
        return sorted(found, key=lambda run: str(run["created"]))

    def node_runs(self, leader: str) -> list[dict[str, Any]]:
        """Those that a flow run started, in that order."""
        return self.flow_runs(flow_runs={"parent_flow_run_id": {"any_": [leader]}})

    def under_way(self) -> list[dict[str, Any]]:
        """Those that have not ended, without what a schedule has planned."""
        found = self.flow_runs(flow_runs={"state": {"type": {"any_": _UNDER_WAY}}})
        return [run for run in found if not run["auto_scheduled"]]

    def pause(self, *names: str, paused: bool = True) -> None:
        """Pauses hosts' own queues, or has them go on."""
        for name in names:
            url = f"{self.api}/work_pools/mixnet/queues/host-{name}"
            asked("PATCH", url, {"is_paused": paused})

    def ask_to_cancel(self, flow_run: str) -> None:
        state = {"type": "CANCELLING", "name": "Cancelling"}
        asked("POST", f"{self.api}/flow_runs/{flow_run}/set_state", {"state": state})


@contextmanager
def pool_of_hosts(root: Path) -> Iterator[Pool]:
    """Makes the pool, without workers; nothing of it is left after the block.

    Raises:
        NotAllowed: this user may make no network namespaces.
    """
    tag = uuid.uuid4().hex[:6]
    bridge = f"mx{tag}"
    with network.two_hosts() as hosts:
        try:
            ip("link", "add", bridge, "type", "bridge")
            ip("addr", "add", f"{_NETWORK}.254/24", "dev", bridge)
            ip("link", "set", bridge, "up")
            for there in hosts:
                end = f"{bridge}-{there.number}"
                peer = ("peer", "name", "srv0", "netns", there.namespace)
                ip("link", "add", end, "type", "veth", *peer)
                ip("link", "set", end, "master", bridge, "up")
                within = ("-n", there.namespace)
                ip(*within, "addr", "add", f"{_NETWORK}.{there.number + 1}/24", "dev", "srv0")
                ip(*within, "link", "set", "dev", "srv0", "up")
            with host(root, Pool, f"{_NETWORK}.254") as made:
                assert isinstance(made, Pool)
                made.hosts = dict(zip(NAMES, hosts, strict=True))
                try:
                    yield made
                finally:
                    for name in NAMES:
                        made.kill_host(name)
        finally:
            with suppress(NotAllowed):
                ip("link", "delete", bridge)
