"""`python -m tests.faults.goodput`: a training of digits of which something is killed every 30 s.

A Prefect server, a worker and its watch run as they do on a host whose init system starts again
what ends: each is started again two seconds after it was killed. The targets are drawn anew each
time among a rank, msrun, the supervisor, the flow's process, the worker and the server. Nobody
starts the run again but the product. It says how many of the steps done stand in the end, how long
each target's kill cost until the next step, and whether the checkpoints have the bytes of an
undisturbed run.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from mixnet_core.runs.run_dir import RunDir
from mixnet_core.train.metrics import read_metrics
from tests.faults.__main__ import Failed, say
from tests.faults.job import differences, is_program, outcome
from tests.flows.host import Host, host

TARGETS = ("rank", "msrun", "supervisor", "flow", "worker", "server")
RANKS = 2
SETTINGS: dict[str, Any] = {
    "training.checkpoint_every_steps": 10,
    "training.keep_checkpoints": 3,
    "training.log_every_steps": 1,
    "devices.threads_per_rank": 1,
}
_RESTART_SECONDS = 2.0
_MOST_SECONDS = 3600.0
_MOST_SECONDS_WITHOUT_STEP = 600.0
_LOOK_SECONDS = 0.05


@dataclass
class Kill:
    """What was killed when, and when the next step was done.

    Attributes:
        attempts: how many there were. What trains may do a step more before it ends, which is no
            going on: that is a step of a later attempt, but where the training lives on.
    """

    target: str
    at: float
    attempts: int
    next_step_at: float | None = None

    def went_on(self, attempts: int) -> bool:
        return attempts > self.attempts or self.target in ("worker", "server")


@dataclass
class Steps:
    """Follows the steps of a run's metrics from a thread of its own.

    Attributes:
        done: all that were done, those done again after a kill too.
        newest: the last row's step.
        at: when it was seen.
    """

    run: RunDir
    done: int = 0
    newest: int = 0
    at: float = 0.0
    _seen: set[float] = field(default_factory=set)
    _size: int = -1

    def look(self) -> bool:
        """Whether a step came since the last look."""
        path = self.run.metrics
        size = path.stat().st_size if path.is_file() else 0
        if size == self._size:
            return False
        self._size = size
        rows = [row for row in read_metrics(path) if row["event"] == "step"]
        # No two rows of two attempts have the same time.
        new = {row["time"] for row in rows} - self._seen
        self._seen |= new
        self.done += len(new)
        self.newest = rows[-1]["step"] if rows else 0
        if new:
            self.at = time.monotonic()
        return bool(new)


def goodput(folder: Path, minutes: float, every: float, seed: int, epochs: int) -> None:
    """Raises Failed."""
    draw = random.Random(seed)
    with host(folder) as here:
        here.start("worker")
        here.start("watch", "--go-on", "1000")
        began = time.monotonic()
        train(here, "undisturbed", epochs)
        undisturbed = here.deployed.workspace.run("undisturbed")
        reference = outcome(undisturbed)
        followed = Steps(undisturbed)
        followed.look()
        say(f"undisturbed: {followed.done} steps, {time.monotonic() - began:.0f} s for all stages")
        began, counted, done, number, kills = time.monotonic(), 0, 0, 0, []
        while time.monotonic() - began < 60 * minutes:
            number += 1
            name = f"run-{number}"
            steps, more = disturbed(
                here, name, epochs, draw, every, began + 60 * minutes, followed.newest
            )
            kills += more
            counted += steps.newest
            done += steps.done
            if other := differences(reference, outcome(steps.run)):
                raise Failed(f"{name} differs from the undisturbed run in {', '.join(other)}")
            say(
                f"{name}: {len(more)} kills, {attempts_of(steps.run)} attempts, equal to the "
                "undisturbed run"
            )
        show(kills, counted, done, time.monotonic() - began)


def train(here: Host, name: str, epochs: int) -> str:
    """Waits for a run's end, which must be a good one."""
    flow_run = begin(here, name, epochs)
    await_end(here, name, flow_run)
    return flow_run


def begin(here: Host, name: str, epochs: int) -> str:
    return here.deployed.run(
        "mixnet/train", recipe="digits", run=name, epochs=epochs, ranks=RANKS, settings=SETTINGS
    )


def await_end(here: Host, name: str, flow_run: str) -> None:
    deadline = time.monotonic() + _MOST_SECONDS
    state: dict[str, Any] = {"type": None}
    while state["type"] not in ("COMPLETED", "FAILED"):
        if time.monotonic() > deadline:
            raise Failed(f"{name} does not end: {state}")
        time.sleep(1)
        # It may be on its way up again.
        with suppress(httpx.TransportError):
            state = here.deployed.state(flow_run)
    if state["type"] != "COMPLETED":
        raise Failed(f"{name} ended as {state['name']}: {state['message']}")


def disturbed(
    here: Host,
    name: str,
    epochs: int,
    draw: random.Random,
    every: float,
    until: float,
    last_step: int,
) -> tuple[Steps, list[Kill]]:
    """One run, of which something is killed as long as there are time and steps to do."""
    flow_run = begin(here, name, epochs)
    run = here.deployed.workspace.run(name)
    steps, kills, trained = Steps(run), list[Kill](), run.record("train")
    # Kills are counted from the first step on: what comes before trains nothing.
    await_step(steps, name)
    next_kill = time.monotonic() + every
    while not trained.exists():
        if steps.look():
            attempts = attempts_of(run)
            for kill in kills:
                if kill.next_step_at is None and kill.went_on(attempts):
                    kill.next_step_at = steps.at
        # What is not there at the moment is drawn again at the next look.
        # After the last step there is none to wait for.
        is_due = next_kill < time.monotonic() < until and steps.newest < last_step
        if is_due and (made := struck(here, flow_run, steps, draw)):
            kills.append(made)
            next_kill += every
        if time.monotonic() - steps.at > _MOST_SECONDS_WITHOUT_STEP:
            raise Failed(f"{name} has done no step for {_MOST_SECONDS_WITHOUT_STEP:g} s")
        time.sleep(_LOOK_SECONDS)
    steps.look()
    await_end(here, name, flow_run)
    return steps, kills


def await_step(steps: Steps, name: str) -> None:
    deadline = time.monotonic() + _MOST_SECONDS_WITHOUT_STEP
    while not steps.look():
        if time.monotonic() > deadline:
            raise Failed(f"{name} does not begin")
        time.sleep(_LOOK_SECONDS)


def struck(here: Host, flow_run: str, steps: Steps, draw: random.Random) -> Kill | None:
    """Kills what is drawn, by SIGKILL; None if it is not there now."""
    target = draw.choice(TARGETS)
    if target in here.running:
        here.kill(target)
        threading.Timer(_RESTART_SECONDS, here.start, (target,)).start()
    else:
        victims = [p for p in here.processes(flow_run) if is_target(p, target)]
        if not victims:
            return None
        with suppress(psutil.Error):
            draw.choice(victims).kill()
    say(f"SIGKILL to {target} at step {steps.newest}")
    return Kill(target, time.monotonic(), attempts_of(steps.run))


def attempts_of(run: RunDir) -> int:
    return len(list(run.attempts("train").glob("attempt-*")))


def is_target(process: psutil.Process, target: str) -> bool:
    if target == "rank":
        return any(is_program(process, f"rank {rank}") for rank in range(RANKS))
    if target == "flow":
        with suppress(psutil.Error):
            return any(part.startswith("prefect.") for part in process.cmdline()[2:3])
        return False
    return is_program(process, target)


def show(kills: list[Kill], counted: int, done: int, seconds: float) -> None:
    say(f"{len(kills)} kills in {seconds / 60:.1f} minutes")
    say(f"steps that counted: {counted} of {done} done, {counted / done:.1%}")
    say("target      kills  median s to the next step  most s")
    for target in (*TARGETS, "all"):
        waits = sorted(
            kill.next_step_at - kill.at
            for kill in kills
            if target in ("all", kill.target) and kill.next_step_at is not None
        )
        if waits:
            say(f"{target:10} {len(waits):6} {waits[len(waits) // 2]:26.1f} {waits[-1]:7.1f}")
    if left := [kill.target for kill in kills if kill.next_step_at is None]:
        say(f"after the last step, with none to wait for: {', '.join(left)}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.goodput", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--every", type=float, default=30, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=24, help="37 steps each")
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one, deleted")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    say(f"a kill every {given.every:g} s for {given.minutes:g} minutes, seed {given.seed}")
    arguments = (given.minutes, given.every, given.seed, given.epochs)
    try:
        with tempfile.TemporaryDirectory(prefix="mixnet-goodput-") as temporary:
            goodput((given.folder or Path(temporary)).absolute(), *arguments)
    except Failed as error:
        say(f"FAILED: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
