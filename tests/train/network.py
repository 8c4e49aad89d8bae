"""Hosts as network namespaces of this machine: own addresses, one cable between two, one disk."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from mixnet_core.runs.run_dir import RunDir, Workspace
from tests.faults.job import JOB
from tests.marked import VARIABLE, marked
from tests.tiny import options

MIXNET = (sys.executable, "-m", "mixnet_core.cli")
RUN = "r"
SETTINGS: dict[str, Any] = JOB | {
    "devices.lost_seconds": 5,
    "devices.join_seconds": 45,
    "devices.restarts": 0,
}


class NotAllowed(Exception):
    """This user may make no network namespaces."""


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotAllowed(f"ip {' '.join(words)}: {done.stderr.strip()}")


@dataclass
class Host:
    """One of two hosts.

    Attributes:
        number: 0 or 1.
        namespace: its network.
        address: in it.
        mark: in the environment of all of its processes.
        disks: folder -> what is mounted over it there, so that it has other files than elsewhere.
    """

    number: int
    namespace: str
    address: str
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    process: subprocess.Popen[str] | None = None
    log: Path = Path(os.devnull)
    disks: dict[Path, Path] = field(default_factory=dict)

    @property
    def within(self) -> tuple[str, ...]:
        """Begins a command that runs on the host."""
        begin = ("ip", "netns", "exec", self.namespace)
        if not self.disks:
            return begin
        # `ip netns exec` gives it mounts of its own.
        mounts = [f"mount --bind '{one}' '{folder}'" for folder, one in self.disks.items()]
        return (*begin, "sh", "-c", f'{" && ".join(mounts)} && exec "$@"', "sh")

    def start(self, workspace: Workspace, *words: str, **environment: str) -> None:
        """Starts a command of `mixnet` on the host."""
        self.log = workspace.root / f"host-{self.number}.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*self.within, *MIXNET, *words, f"--workspace={workspace.root}"],
                env={**os.environ, VARIABLE: self.mark, "COLUMNS": "200", **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )

    def train(self, workspace: Workspace, *words: str, master: str) -> None:
        """Starts its part of the run's training, as a person does."""
        told = ("--hosts=2", f"--node-rank={self.number}", f"--master={master}")
        self.start(workspace, "train", f"--run={RUN}", *told, *words)

    def slow_down(self, bits: str) -> None:
        """Lets so much a second leave it, as in "40mbit"."""
        limit = ("rate", bits, "burst", "64kb", "latency", "200ms")
        command = ("tc", "-n", self.namespace, "qdisc", "add", "dev", "up0", "root", "tbf", *limit)
        subprocess.run(command, check=True)

    def drop(self, address: str) -> None:
        """Sends nothing to an address any more, as a firewall between them does."""
        ip("-n", self.namespace, "route", "add", "blackhole", f"{address}/32")

    def end(self, seconds: float = 180) -> int:
        """Returns the command's exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def last_line(self) -> str:
        lines = self.log.read_text().strip().splitlines()
        return lines[-1] if lines else ""

    def kill(self) -> None:
        """Ends all of its processes at once, as a power cut does."""
        for process in marked(self.mark):
            with suppress(psutil.Error):
                process.kill()
        if self.process is not None:
            self.process.wait()

    def cut(self, cut: bool = True) -> None:
        """Takes its cable out, or puts it in again."""
        ip("-n", self.namespace, "link", "set", "dev", "up0", "down" if cut else "up")


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Makes two hosts with one cable; nothing of them is left after the block.

    Raises:
        NotAllowed: as its name says.
    """
    tag = uuid.uuid4().hex[:6]
    hosts = [Host(i, f"mixnet-{tag}-{i}", f"10.83.0.{i + 1}") for i in range(2)]
    try:
        for host in hosts:
            ip("netns", "add", host.namespace)
        first, second = (host.namespace for host in hosts)
        ip(
            *("-n", first, "link", "add", "up0", "type", "veth"),
            *("peer", "name", "up0", "netns", second),
        )
        for host in hosts:
            ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "up0")
            for device in ("lo", "up0"):
                ip("-n", host.namespace, "link", "set", "dev", device, "up")
        yield hosts[0], hosts[1]
    finally:
        for host in hosts:
            host.kill()
            with suppress(NotAllowed):
                ip("netns", "delete", host.namespace)


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two of them, for one test; skipped where this user may make none."""
    try:
        with two_hosts() as made:
            yield made
    except NotAllowed as error:
        pytest.skip(f"network namespaces need root and ip: {error}")


def prepare(root: Path, *, epochs: int, **settings: Any) -> Workspace:
    """Prepares the run in a workspace; returns that."""
    workspace = Workspace(root)
    root.mkdir(parents=True, exist_ok=True)
    more = {key.replace(".", "__"): value for key, value in (SETTINGS | settings).items()}
    words = ("digits", f"--run={RUN}", f"--epochs={epochs}", "--ranks=1", *options(**more))
    done = subprocess.run(
        [*MIXNET, "prepare", *words, f"--workspace={root}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return workspace


def train_on_one(workspace: Workspace, *words: str) -> None:
    """Trains the run on one host, without another in sight, to its end."""
    command = [*MIXNET, "train", f"--run={RUN}", f"--workspace={workspace.root}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run_of(workspace: Workspace) -> RunDir:
    return workspace.run(RUN)
