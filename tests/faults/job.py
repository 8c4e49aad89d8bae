"""A tiny training on two ranks through the real flow, its processes, and what it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from mixnet_core.checkpoints.bundle import CONTENTS
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.storage.files import ASIDE_PREFIX, read_json, sha256_of
from mixnet_core.train.metrics import read_metrics
from tests.marked import VARIABLE, marked
from tests.tiny import SETTINGS

PROJECT = Path(__file__).parents[2]
RANKS = 2
EPOCHS = 5
# An epoch is twelve steps; so many lie between two checkpoints.
STEPS_BETWEEN = 3
JOB: dict[str, Any] = SETTINGS | {
    "training.checkpoint_every_steps": STEPS_BETWEEN,
    "training.keep_checkpoints": 3,
    "training.log_every_steps": 1,
    "training.ema_decay": 0.9,
    # It learns nothing from so few images, and is not to stop for it.
    "training.chance_epochs": None,
    "network.drop_rate": 0.2,
    "augment.hflip": 0.5,
}
# The temporary server's caller wants a quiet terminal; the log of a run that failed is to tell why.
_PREFECT_SAYS = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO"}
TARGETS = ("flow", "supervisor", "msrun", "rank 0", "rank 1")


@dataclass
class Job:
    """One run of the flow, whose process may be started more than once.

    Attributes:
        mark: in the environment of all of its processes.
    """

    workspace: Workspace
    name: str
    mark: str
    settings: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def run(self) -> RunDir:
        return self.workspace.run(self.name)

    @property
    def log(self) -> Path:
        return self.workspace.root / f"{self.name}.log"

    def start(self) -> None:
        """As a person who gives the same command again."""
        parameters = {
            "recipe": "digits",
            "run": self.name,
            "workspace": str(self.workspace.root),
            "epochs": EPOCHS,
            "ranks": RANKS,
            "settings": JOB | self.settings,
        }
        self.workspace.root.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.flow", json.dumps(parameters)],
                cwd=PROJECT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def environment(self) -> dict[str, str]:
        """Of all processes."""
        return {**os.environ, VARIABLE: self.mark, **_PREFECT_SAYS}

    @property
    def ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def find(self, target: str) -> psutil.Process | None:
        """The process of that name; None while there is none."""
        if target == "flow":
            assert self.process is not None
            return None if self.ended else psutil.Process(self.process.pid)
        return next((p for p in self.processes() if is_program(p, target)), None)

    def processes(self) -> list[psutil.Process]:
        """Of all stages, without the flow's own."""
        own = self.process.pid if self.process is not None else 0
        return [process for process in marked(self.mark) if process.pid != own]

    def attempts(self) -> int:
        return len(list(self.run.attempts("train").glob("attempt-*")))

    def bundles(self) -> set[str]:
        return {path.name for path in self.run.checkpoints.glob("step-*")}

    def asides(self) -> set[str]:
        """Of checkpoints that are being written, or were when a kill came."""
        return {path.name for path in self.run.checkpoints.glob(f"{ASIDE_PREFIX}*")}

    def step(self) -> int:
        """The newest step that is in the metrics."""
        rows = read_metrics(self.run.metrics)
        return int(rows[-1]["step"]) if rows else 0

    def left_aside(self) -> list[str]:
        """What a crash left in the run's folder; an attempt's own folder keeps what it has."""
        places = (self.run.root, self.run.checkpoints)
        return [str(path) for place in places for path in place.glob(f"{ASIDE_PREFIX}*")]

    def outcome(self) -> dict[str, Any]:
        return outcome(self.run)


def outcome(run: RunDir) -> dict[str, Any]:
    """All bytes of all kept checkpoints, as digests, and where each says to stand."""
    found: dict[str, Any] = {}
    for bundle in sorted(run.checkpoints.glob("step-*")):
        for path in sorted(bundle.iterdir()):
            found[f"{bundle.name}/{path.name}"] = sha256_of(path)
        found[f"{bundle.name} at"] = read_json(bundle / CONTENTS)["position"]
    return found


def differences(reference: dict[str, Any], outcome: dict[str, Any]) -> list[str]:
    """What is missing, too much or other."""
    names = sorted({*reference, *outcome})
    return [name for name in names if reference.get(name) != outcome.get(name)]


J = TypeVar("J", bound=Job)


@contextmanager
def ended_afterwards(job: J) -> Iterator[J]:
    """Nothing of the job runs after the block, however it ends."""
    try:
        yield job
    finally:
        for process in marked(job.mark):
            with suppress(psutil.Error):
                process.kill()
        if job.process is not None:
            job.process.wait()


def is_program(process: psutil.Process, target: str) -> bool:
    """Whether a process of a stage is the supervisor, msrun, or "rank N"."""
    with suppress(psutil.Error):
        command, environment = process.cmdline(), process.environ()
        if target == "supervisor":
            return any(part.endswith("supervisor.py") for part in command[:4])
        if target == "msrun":
            return any(part.endswith("/msrun") for part in command[:2])
        return (
            "mixnet_core.train" in command
            and environment.get("MS_ROLE") == "MS_WORKER"
            and f"rank {environment.get('RANK_ID')}" == target
            # Not what it forked for its data.
            and any(part.endswith("/msrun") for part in process.parent().cmdline()[:2])
        )
    return False
