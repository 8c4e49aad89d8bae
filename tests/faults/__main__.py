"""`python -m tests.faults`: SIGKILLs at random instants, in turn to the flow, the supervisor,
msrun, rank 0 and rank 1; at least a quarter of them while a checkpoint is written.

Every run must end with the bytes of an undisturbed one in all of its checkpoints. A killed flow is
started again, as a person would; whatever else is killed the run itself must survive. After every
kill of the flow, and at the end, no process may be left.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mixnet_core.runs.run_dir import Workspace
from mixnet_flows.temporary_server import start_temporary_server
from tests.faults.job import EPOCHS, STEPS_BETWEEN, TARGETS, Job, differences, ended_afterwards

REFERENCE = "reference"
# Whatever hangs for so long is a failure of its own.
_MOST_SECONDS_TO_A_KILL = 300.0
_MOST_SECONDS_TO_THE_END = 400.0
_SECONDS_UNTIL_GONE = 15.0
_POLL_SECONDS = 0.005
# Prefect tries three times; an attempt that leaves no new checkpoint costs one of them.
_MOST_WITHOUT_PROGRESS = 2


class Failed(Exception):
    """What differed."""


@dataclass(frozen=True)
class Kill:
    """When and what.

    Attributes:
        writing: while a checkpoint is written, else anywhere.
        progressed: not before this attempt has left a checkpoint.
        delay: seconds from then on.
    """

    target: str
    writing: bool
    progressed: bool
    delay: float


@dataclass(frozen=True)
class Made:
    """A kill: how many attempts there were, and whether it fell inside a checkpoint's writing."""

    attempts: int
    writing: bool


@dataclass
class Tally:
    kills: int = 0
    writing: int = 0
    restarts: int = 0
    unequal: int = 0


def plan(kills: int, draw: random.Random) -> list[list[Kill]]:
    """Runs of one kill a target each, in random order."""
    runs: list[list[Kill]] = []
    for number in range(kills):
        if number % len(TARGETS) == 0:
            targets = draw.sample(TARGETS, len(TARGETS))
            writing = draw.sample([True, True, False, False, False], len(TARGETS))
            runs.append([])
            early = 0
        place = number % len(TARGETS)
        progressed = early >= _MOST_WITHOUT_PROGRESS or draw.random() < 0.5
        early += not progressed
        # Start-up and compilation take most of the time, so most instants would be in them.
        delay = draw.uniform(0, 0.2) if writing[place] else draw.uniform(0, 2 if progressed else 15)
        runs[-1].append(Kill(targets[place], writing[place], progressed, delay))
    return runs


def strike(job: Job, kill: Kill) -> Made | None:
    """Waits for the moment and kills; None if the run ended first."""
    deadline = time.monotonic() + _MOST_SECONDS_TO_A_KILL

    def wait_for(condition: Callable[[], object]) -> bool:
        while not condition():
            if job.ended:
                return False
            if time.monotonic() > deadline:
                raise Failed(f"no moment came to kill {kill.target} ({kill})")
            time.sleep(_POLL_SECONDS)
        return True

    before, aside = job.bundles(), job.asides()
    if kill.progressed and not wait_for(lambda: job.bundles() - before):
        return None
    if not wait_for(lambda: job.find(kill.target)):
        return None
    victim = job.find(kill.target)
    # One that an earlier kill left lies there until the next checkpoint is whole.
    if kill.writing and not wait_for(lambda: job.asides() - aside):
        return None
    time.sleep(kill.delay)
    if victim is None or not victim.is_running():
        return strike(job, kill)
    writing, attempts = bool(job.asides() - aside), job.attempts()
    victim.kill()
    say(
        f"{job.name}: SIGKILL to {kill.target} (pid {victim.pid}), attempt {attempts}, "
        f"step {job.step()}{', inside a checkpoint write' if writing else ''}"
    )
    return Made(attempts, writing)


def await_restart(job: Job, attempts: int) -> None:
    """The next kill is for the next attempt."""
    deadline = time.monotonic() + _MOST_SECONDS_TO_A_KILL
    while job.attempts() <= attempts and not job.ended:
        if time.monotonic() > deadline:
            raise Failed(f"{job.name} was not started again")
        time.sleep(_POLL_SECONDS)


def await_nothing_left(job: Job) -> None:
    deadline = time.monotonic() + _SECONDS_UNTIL_GONE
    while left := job.processes():
        if time.monotonic() > deadline:
            raise Failed(f"{len(left)} processes are left: {left}")
        time.sleep(0.1)


def finish(job: Job) -> None:
    """Waits for the flow's end, which must be a good one."""
    assert job.process is not None
    deadline = time.monotonic() + _MOST_SECONDS_TO_THE_END
    while not job.ended:
        if time.monotonic() > deadline:
            raise Failed(f"{job.name} does not end; its log is {job.log}")
        time.sleep(0.1)
    await_nothing_left(job)
    if job.process.returncode != 0:
        tail = job.log.read_text(errors="replace").splitlines()[-5:]
        raise Failed(
            f"{job.name} ended with exit code {job.process.returncode}: {' | '.join(tail)}"
        )
    if aside := job.left_aside():
        raise Failed(f"{job.name} left {', '.join(aside)}")


def undisturbed(workspace: Workspace) -> dict[str, object]:
    with ended_afterwards(Job(workspace, REFERENCE, uuid.uuid4().hex)) as job:
        job.start()
        finish(job)
        outcome = job.outcome()
        say(f"{job.name}: undisturbed, {len(outcome)} digests of {sorted(job.bundles())}")
        return outcome


def disturbed(
    workspace: Workspace,
    name: str,
    kills: list[Kill],
    reference: dict[str, object],
    table: dict[str, Tally],
    *,
    warm: bool,
) -> int:
    """One run with its kills; how many were made. `warm`: the graphs are compiled already."""
    made: list[Kill] = []
    with ended_afterwards(Job(workspace, name, uuid.uuid4().hex)) as job:
        if warm:
            shutil.copytree(workspace.run(REFERENCE).graphs, job.run.graphs)
        job.start()
        for kill in kills:
            struck = strike(job, kill)
            if struck is None:
                break
            made.append(kill)
            table[kill.target].kills += 1
            table[kill.target].writing += struck.writing
            if kill.target == "flow":
                assert job.process is not None
                job.process.wait()
                await_nothing_left(job)
                job.start()
            await_restart(job, struck.attempts)
            if not job.ended:
                table[kill.target].restarts += 1
        finish(job)
        other = differences(reference, job.outcome())
        say(f"{name}: {len(made)} kills, {job.attempts()} attempts, {_verdict(other)}")
        for kill in made:
            table[kill.target].unequal += bool(other)
        if other:
            raise Failed(f"{name} differs from the undisturbed run in {', '.join(other)}")
    return len(made)


def suite(folder: Path, kills: int, seed: int, minutes: float) -> dict[str, Tally]:
    """Raises Failed."""
    draw, deadline = random.Random(seed), time.monotonic() + 60 * minutes
    say(f"{kills} kills, seed {seed}, {EPOCHS} epochs, a checkpoint every {STEPS_BETWEEN} steps")
    start_temporary_server(folder / "prefect")
    workspace = Workspace(folder / "workspace")
    reference = undisturbed(workspace)
    table = {target: Tally() for target in TARGETS}
    made = number = 0
    try:
        while made < kills:
            # What a run that ended too early was not given is made up for by another one.
            for planned in plan(kills - made, draw):
                if time.monotonic() > deadline:
                    raise Failed(f"{minutes:g} minutes are over after {made} of {kills} kills")
                number += 1
                warm = number % 2 == 0
                made += disturbed(workspace, f"run-{number}", planned, reference, table, warm=warm)
    finally:
        show(table)
    return table


def show(table: dict[str, Tally]) -> None:
    say(f"{'target':12} {'kills':>6} {'writing':>8} {'restarts':>9}  equal")
    total: Counter[str] = Counter()
    for target, tally in table.items():
        say(
            f"{target:12} {tally.kills:6} {tally.writing:8} {tally.restarts:9}  "
            f"{'no' if tally.unequal else 'yes'}"
        )
        total.update(kills=tally.kills, writing=tally.writing, restarts=tally.restarts)
    say(f"{'all':12} {total['kills']:6} {total['writing']:8} {total['restarts']:9}")


def say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


def _verdict(other: list[str]) -> str:
    return f"DIFFERS in {', '.join(other)}" if other else "equal to the undisturbed run"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="no run begins after them")
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one, deleted")
    options = parser.parse_args()
    # Ends by exception, so that nothing of the suite's runs on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.folder is not None:
            suite(options.folder.absolute(), options.kills, options.seed, options.minutes)
        else:
            with tempfile.TemporaryDirectory(prefix="mixnet-faults-") as folder:
                suite(Path(folder), options.kills, options.seed, options.minutes)
    except Failed as error:
        say(f"FAILED: {error}")
        return 1
    say("every run ended equal to the undisturbed one, and no process was left")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
