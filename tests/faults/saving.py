"""`python -m tests.faults.saving`: asks a training to stop at random instants, on 1 and 2 ranks.

In turn by SIGTERM, by Ctrl-C, by `mixnet drain` and by a SIGKILL of its command, after which its
supervisor asks. A quarter of the instants are drawn from the start of the command, the others from
its first step. Asked, it must have ended within its grace, with at most one of the steps lost that
were done, and no process left; in the end it must have the bytes of an undisturbed run in all of
its checkpoints.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mixnet_core.checkpoints.bundle import newest_bundle
from mixnet_core.processes import stopping
from mixnet_core.recipe.sections import Devices
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.train.metrics import read_metrics
from tests.faults.__main__ import Failed, say
from tests.faults.job import JOB, Job, differences, ended_afterwards
from tests.tiny import options

REFERENCE = "reference"
EPOCHS = 5
WAYS = ("SIGTERM", "Ctrl-C", "drain", "SIGKILL")
GRACE_SECONDS: float = Devices.model_fields["grace_seconds"].default
_MIXNET = (sys.executable, "-m", "mixnet_core.cli")
# What the supervisor needs to end what has not ended by itself.
_SECONDS_TO_END = 10.0
_SHARE_IN_START_UP = 0.25
# No figure: whatever takes longer than this hangs, however busy the machine is.
_MOST_SECONDS = 3600.0
_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Stop:
    """What came of asking once.

    Attributes:
        done: steps that were done when nothing ran any more.
        kept: steps in the newest checkpoint.
        seconds: until nothing ran any more.
        code: the command's exit code.
    """

    way: str
    asked_at: int
    done: int
    kept: int
    seconds: float
    code: int

    @property
    def lost(self) -> int:
        return self.done - self.kept


class Command(Job):
    """`mixnet train` as a person starts it, on a number of ranks."""

    ranks: int = 1
    epochs: int = EPOCHS

    def start(self) -> None:
        self.workspace.root.mkdir(parents=True, exist_ok=True)
        self.process = self._mixnet("train", f"--run={self.name}")

    def prepare(self) -> None:
        settings = JOB | {"training.checkpoint_every_steps": None}
        more = options(**{key.replace(".", "__"): value for key, value in settings.items()})
        arguments = (
            "digits",
            f"--run={self.name}",
            f"--epochs={self.epochs}",
            f"--ranks={self.ranks}",
        )
        self.workspace.root.mkdir(parents=True, exist_ok=True)
        for stage in (("prepare", *arguments, *more), ("fetch", f"--run={self.name}")):
            if self._mixnet(*stage).wait() != 0:
                raise Failed(f"`mixnet {stage[0]}` failed; its log is {self.log}")

    def begin_like(self, other: Command) -> None:
        """Takes what another run of the same recipe had before it trained, and its graphs."""
        left = ("checkpoints", "attempts", "metrics.jsonl", "train*.json", ".lock")
        shutil.copytree(other.run.root, self.run.root, ignore=shutil.ignore_patterns(*left))

    def drain(self, *more: str, run: str = "") -> int:
        """The exit code of `mixnet drain`; `said` is what it printed."""
        return self.begin_to_drain(*more, run=run).wait()

    def begin_to_drain(self, *more: str, run: str = "") -> subprocess.Popen[bytes]:
        with self._said.open("wb") as out:
            # Its time counts for itself: it is none of the training's processes.
            return self._mixnet("drain", run or self.name, *more, out=out, env=dict(os.environ))

    def said(self) -> str:
        return self._said.read_text()

    @property
    def _said(self) -> Path:
        return self.workspace.root / f"{self.name}.drained"

    def steps(self) -> list[int]:
        rows = read_metrics(self.run.metrics)
        # Of an attempt before, until the newest one cuts them off.
        return [int(row["step"]) for row in rows if row["event"] == "step"]

    def _mixnet(
        self, *arguments: str, out: IO[bytes] | None = None, env: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*_MIXNET, *arguments, f"--workspace={self.workspace.root}"],
                env=env or self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out or log,
                stderr=log,
            )


def came_about(job: Command, condition: Callable[[], object], what: str) -> bool:
    """Whether it came about before the command ended."""
    deadline = time.monotonic() + _MOST_SECONDS
    while not condition():
        if job.ended:
            return bool(condition())
        if time.monotonic() > deadline:
            raise Failed(f"{job.name}: {what} did not come about; its log is {job.log}")
        time.sleep(_POLL_SECONDS)
    return True


def strike(job: Command, way: str, draw: random.Random) -> Stop | None:
    """Starts the command and asks it to stop at an instant; None if it had ended."""
    before, attempts = newest_bundle(job.run.checkpoints).step, job.attempts()
    job.start()
    assert job.process is not None
    if draw.random() < _SHARE_IN_START_UP:
        deadline = time.monotonic() + draw.uniform(0, 12)
        came_about(job, lambda: time.monotonic() > deadline, "the instant")
    elif came_about(job, lambda: _heeds(job, attempts), "a step"):
        time.sleep(draw.uniform(0, 2))
    # Before that there is nothing to drain.
    if way == "drain":
        came_about(job, lambda: job.attempts() > attempts, "an attempt")
    if job.ended:
        return None
    asked_at = max(job.steps(), default=0)
    began = _asked(job, way, attempts)
    while not job.ended or job.processes():
        if time.monotonic() - began > GRACE_SECONDS + _SECONDS_TO_END:
            raise Failed(f"{job.name} still runs {GRACE_SECONDS + _SECONDS_TO_END:g} s after {way}")
        time.sleep(_POLL_SECONDS)
    seconds = time.monotonic() - began
    kept = newest_bundle(job.run.checkpoints).step
    done = max([step for step in job.steps() if step > before], default=before)
    return Stop(way, asked_at, done, kept, seconds, job.process.returncode)


def _asked(job: Command, way: str, attempts: int) -> float:
    """Asks the command to stop; the time at which it was asked."""
    assert job.process is not None
    if way == "drain":
        draining = job.begin_to_drain()
        request = _attempt(job, attempts) / stopping.REQUEST
        while draining.poll() is None and not request.exists():
            time.sleep(_POLL_SECONDS)
    elif way == "SIGKILL":
        job.process.kill()
    else:
        job.process.send_signal(signal.SIGTERM if way == "SIGTERM" else signal.SIGINT)
    return time.monotonic()


def _attempt(job: Command, attempts: int) -> Path:
    """The attempt that comes after so many."""
    return job.run.attempts("train") / f"attempt-{attempts + 1:03d}"


def _heeds(job: Command, attempts: int) -> bool:
    """Whether the newest attempt has done a step."""
    return stopping.heeds(_attempt(job, attempts))


def finish(job: Command) -> None:
    """Lets the command go on to the end of the training."""
    job.start()
    assert job.process is not None
    came_about(job, lambda: False, "the end")
    if job.process.returncode != 0:
        raise Failed(f"{job.name} ended with {job.process.returncode}; its log is {job.log}")


def on_ranks(workspace: Workspace, ranks: int, instants: int, draw: random.Random) -> list[Stop]:
    """Asks until so many instants were met; raises Failed at the first thing that is wrong."""
    stops: list[Stop] = []
    with ended_afterwards(Command(workspace, REFERENCE, uuid.uuid4().hex)) as undisturbed:
        undisturbed.ranks = ranks
        undisturbed.prepare()
        finish(undisturbed)
        reference = undisturbed.outcome()
        kept = sorted(undisturbed.bundles())
        say(f"{ranks} rank(s): undisturbed, {len(reference)} digests of {', '.join(kept)}")
    number = 0
    while len(stops) < instants:
        number += 1
        with ended_afterwards(Command(workspace, f"run-{number}", uuid.uuid4().hex)) as job:
            job.begin_like(undisturbed)
            while len(stops) < instants:
                stop = strike(job, WAYS[len(stops) % len(WAYS)], draw)
                if stop is None:
                    break
                stops.append(stop)
                say(
                    f"{job.name}: {stop.way} at step {stop.asked_at}: {stop.done} done, "
                    f"{stop.kept} kept, {stop.seconds:.1f} s, exit code {stop.code}"
                )
                if stop.lost > 1:
                    raise Failed(f"{job.name} lost {stop.lost} steps")
            finish(job)
            if other := differences(reference, job.outcome()):
                raise Failed(f"{job.name} differs from the undisturbed run in {', '.join(other)}")
            say(f"{job.name}: equal to the undisturbed run after {job.attempts()} attempts")
    return stops


def show(ranks: int, stops: list[Stop]) -> None:
    say("ranks asked by  instants most lost median s most s")
    for way in (*WAYS, "all"):
        found = [stop for stop in stops if way in ("all", stop.way)]
        seconds = sorted(stop.seconds for stop in found)
        if found:
            say(
                f"{ranks:5} {way:9} {len(found):8} {max(stop.lost for stop in found):9} "
                f"{seconds[len(seconds) // 2]:8.1f} {seconds[-1]:6.1f}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.saving", description=__doc__)
    parser.add_argument("--instants", type=int, default=20, help="on each number of ranks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one, deleted")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A shell that starts it in the background has it ignored, and so would have what it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="mixnet-saving-") as temporary:
            folder = (given.folder or Path(temporary)).absolute()
            say(f"{given.instants} instants, seed {given.seed}, grace {GRACE_SECONDS:g} s")
            for ranks in given.ranks:
                draw = random.Random(given.seed + ranks)
                workspace = Workspace(folder / f"ranks-{ranks}")
                show(ranks, on_ranks(workspace, ranks, given.instants, draw))
    except Failed as error:
        say(f"FAILED: {error}")
        return 1
    say("every run ended equal to the undisturbed one, and no process was left")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
