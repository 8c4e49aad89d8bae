"""Asks trainings of this machine to save and stop, before maintenance or a preemption.

A run that trains holds its lock, and its ranks carry their attempt's folder in their environment:
those are this machine's. Between two attempts there are no ranks: this machine's is then a run
whose lock a process of this machine has open. What it is asked by is a file in the newest attempt's
folder (`processes.stopping`), so it does not matter who started it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from mixnet_core.errors import MixnetError, RecipeError
from mixnet_core.processes import stopping
from mixnet_core.processes.child import ATTEMPT_VARIABLE
from mixnet_core.recipe.recipe import stored_recipe
from mixnet_core.recipe.sections import Devices
from mixnet_core.runs.records import existing_run
from mixnet_core.runs.run_dir import RunDir, Workspace, newest_attempt
from mixnet_core.stages.workspace_use import is_locked

REASON = "mixnet drain"
# The supervisor ends within eight seconds what has not ended by itself; the stage then says so.
_SECONDS_TO_END = 15.0
# Between two attempts of a training nothing of it runs.
_SECONDS_BETWEEN_ATTEMPTS = 5.0
_POLL_SECONDS = 0.2

State = Literal["stopped", "runs", "left"]


@dataclass(frozen=True)
class Drained:
    """Says what became of a run that was at work.

    Attributes:
        run: its name.
        state: stopped; runs: it was asked, and has not ended in time; left: it does not train, or
            not here.
        line: the same in words.
    """

    run: str
    state: State
    line: str


def drain(
    workspace: Workspace,
    names: Sequence[str] | None = None,
    *,
    on_asked: Callable[[str], None] = lambda run: None,
) -> tuple[Drained, ...]:
    """Has trainings save and stop; returns when they have, or their grace is over.

    Args:
        names: of runs; None: all of the workspace.
        on_asked: called with a run's name once it is asked.

    Returns:
        One for each of the runs that was at work.

    Raises:
        InputError: there is no such run.
        MachineError: an attempt's folder cannot be written.
    """
    if names is None:
        runs = [RunDir(path.parent) for path in sorted(workspace.root.glob("runs/*/recipe.yaml"))]
    else:
        runs = [_run(workspace, name) for name in dict.fromkeys(names)]
    at_work = [run for run in runs if is_locked(run)]
    asked: dict[str, Path] = {}
    training: set[str] = set()
    are_hidden = False
    until = time.monotonic() + _SECONDS_BETWEEN_ATTEMPTS
    while waiting := [run for run in at_work if run.name not in training and is_locked(run)]:
        here, are_hidden = _attempts_here()
        for run in waiting:
            attempt = newest_attempt(run.attempts("train"))
            if attempt is None:
                continue
            if _place(attempt) in here:
                training.add(run.name)
            elif not (_may_train_again(run) and _is_open_here(run.lock)):
                continue
            # Asked in its pause, it may just now begin an attempt, which is then asked as well.
            stopping.ask(attempt, REASON)
            if run.name not in asked:
                on_asked(run.name)
            asked[run.name] = attempt
        if time.monotonic() > until or not any(_may_train_again(run) for run in waiting):
            break
        time.sleep(_POLL_SECONDS)
    began = time.monotonic()
    elsewhere = "on this machine now" + (", or another user started it" if are_hidden else "")
    return tuple(_outcome(run, asked.get(run.name), began, elsewhere) for run in at_work)


def _run(workspace: Workspace, name: str) -> RunDir:
    try:
        return existing_run(workspace, name)[0]
    except RecipeError:
        # It trains by what was read from it.
        return workspace.run(name)


def _outcome(run: RunDir, attempt: Path | None, began: float, elsewhere: str) -> Drained:
    """Waits for the end of a run that was asked, and says what became of it."""
    if attempt is None:
        line = f"does not train {elsewhere}: left as it is, SIGTERM or Ctrl-C ends it"
        return Drained(run.name, "left", line)
    until = began + _grace(run) + _SECONDS_TO_END
    while is_locked(run) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    answer = stopping.answer(attempt)
    if is_locked(run) and answer is None:
        return Drained(run.name, "runs", f"still runs {time.monotonic() - began:.0f} s after that")
    nothing = (
        "ended without saving a step more: earlier checkpoints are kept, the same command goes on"
    )
    return Drained(run.name, "stopped", answer or nothing)


def _grace(run: RunDir) -> float:
    try:
        return stored_recipe(run.recipe).devices.grace_seconds
    except MixnetError:
        default: float = Devices.model_fields["grace_seconds"].default
        return default


def _may_train_again(run: RunDir) -> bool:
    """Tells whether a run that is at work may be between two attempts of its training."""
    attempts = run.attempts("train")
    return newest_attempt(attempts) is not None and not run.record("train").is_file()


def _is_open_here(lock: Path) -> bool:
    """Tells whether another process of this machine, which may be looked into, has a file open."""
    place = _place(lock)
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and any(
                _place(Path(file.path)) == place for file in process.open_files()
            ):
                return True
    return False


def _attempts_here() -> tuple[set[tuple[int, int]], bool]:
    """Finds the attempts that processes of this machine work on.

    Returns:
        The places of their folders, and whether there are processes of others, which may too.
    """
    found, are_hidden = set(), False
    for process in psutil.process_iter():
        try:
            if folder := process.environ().get(ATTEMPT_VARIABLE):
                found.add(_place(Path(folder)))
        except psutil.AccessDenied:
            are_hidden = True
        except (psutil.Error, OSError):
            # It has ended, or its folder is another container's.
            continue
    return found, are_hidden


def _place(folder: Path) -> tuple[int, int]:
    """Returns what is one for a folder, whatever links lead there."""
    state = folder.stat()
    return state.st_dev, state.st_ino
