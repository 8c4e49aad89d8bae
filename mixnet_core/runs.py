"""A run on disk: one recipe, one process at a time, its finished stages on record.

A record says what a stage was given (as a fingerprint) and what it returned. A stage whose record
has the same fingerprint, and whose files are still there, is not done again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from mixnet_core.errors import InputError, IntegrityError, TransientError
from mixnet_core.files import fingerprint, os_errors_explained, read_json, write_json
from mixnet_core.recipe import NOT_COMPUTED, Recipe, load_recipe, save_recipe
from mixnet_core.run_dir import RunDir, Workspace

# Changes when a stage's result changes for equal inputs.
RECORD_FORMAT = 1
# A killed run's processes are gone within ten seconds; until then they hold the lock.
LOCK_SECONDS = 15.0

V = TypeVar("V", bound=BaseModel)

log = logging.getLogger(__name__)


def open_run(recipe: Recipe, workspace: Workspace, name: str | None = None) -> RunDir:
    """The run's folder, new or begun earlier with the same recipe; `recipe.yaml` is in it.

    Args:
        name: None: the recipe's name and the beginning of its fingerprint, so that equal recipes
            share a run and different ones never do.

    Raises:
        InputError: the name is unusable, or the run was begun with another recipe.
        MachineError: the workspace cannot be written.
    """
    run = workspace.run(name or _default_name(recipe))
    if run.recipe.is_file():
        begun = load_recipe(str(run.recipe))
        if begun.fingerprint != recipe.fingerprint:
            raise InputError(
                f"run {run.name} was begun with another recipe (differs in "
                f"{', '.join(_differences(begun, recipe))}): choose another run name, or delete "
                f"{run.root}"
            )
        if begun == recipe:
            return run
    save_recipe(recipe, run.recipe)
    return run


def existing_run(workspace: Workspace, name: str) -> tuple[RunDir, Recipe]:
    """Raises InputError if there is no such run."""
    run = workspace.run(name)
    if not run.recipe.is_file():
        there = sorted(path.parent.name for path in workspace.root.glob("runs/*/recipe.yaml"))
        known = f"expected one of {', '.join(there)}" if there else "there are no runs yet"
        raise InputError(f"no run {name!r} in {workspace.root}: {known}")
    return run, load_recipe(str(run.recipe))


@contextmanager
def exclusive(run: RunDir, seconds: float = LOCK_SECONDS) -> Iterator[int]:
    """Holds the run against other processes; yields the lock's file descriptor.

    A child that inherits the descriptor keeps the lock beyond its parent's death, so a new attempt
    never writes beside an old one that is still ending.

    Raises:
        TransientError: another process still held it after `seconds`.
    """
    with os_errors_explained(run.lock):
        run.root.mkdir(parents=True, exist_ok=True)
        handle = os.open(run.lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TransientError(
                        f"another process works on run {run.name}: wait until it has ended, or "
                        "choose another run name"
                    ) from None
                time.sleep(0.2)
        yield handle
    finally:
        os.close(handle)


def key_of(**inputs: object) -> str:
    """Hex sha256 of a stage's inputs, JSON values."""
    return fingerprint({"format": RECORD_FORMAT, **inputs})


def begin(run: RunDir, stage: str, key: str, otherwise: str) -> None:
    """Notes what a stage is given before it leaves anything that a later attempt would build on.

    Raises:
        InputError: it was begun with other inputs; `otherwise` names them.
    """
    path = run.record(f"{stage}-begun")
    if path.is_file():
        if read_json(path) != {"key": key}:
            raise InputError(
                f"run {run.name} was begun with {otherwise}: choose another run name, or delete "
                f"{run.root}"
            )
        return
    write_json(path, {"key": key})


def write_record(run: RunDir, stage: str, key: str, result: BaseModel) -> None:
    """Raises MachineError if it cannot be written."""
    data = {"key": key, "result": result.model_dump(mode="json")}
    write_json(run.record(stage), data)


def finished(run: RunDir, stage: str, key: str, kind: type[V]) -> V | None:
    """The recorded result if the stage finished with these inputs, marked as reused."""
    try:
        record = read_json(run.record(stage))
        result = kind.model_validate_json(_json(record["result"])) if record["key"] == key else None
    except InputError:
        return None
    except (IntegrityError, ValidationError, KeyError, TypeError) as error:
        log.warning("the record of stage %s is unusable, it is done again: %s", stage, error)
        return None
    return result.model_copy(update={"reused": True}) if result else None


def recorded(run: RunDir, stage: str, kind: type[V]) -> V:
    """The stage's newest result, whatever it was given.

    Raises:
        InputError: it has not finished yet.
        IntegrityError: its record is damaged.
    """
    path = run.record(stage)
    if not path.is_file():
        raise InputError(
            f"run {run.name} has no finished stage {stage}: run `mixnet {stage}` for it first"
        )
    try:
        return kind.model_validate_json(_json(read_json(path)["result"]))
    except (ValidationError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged: run `mixnet {stage}` again") from error


def _default_name(recipe: Recipe) -> str:
    """A recipe may be named anything; a run's name is a path component."""
    plain = re.sub(r"[^a-z0-9_]+", "-", recipe.name.lower()).strip("-_")[:60]
    return f"{plain or 'run'}-{recipe.fingerprint[:8]}"


def _json(data: object) -> str:
    return json.dumps(data)


def _differences(left: Recipe, right: Recipe) -> list[str]:
    """Dotted keys of what is computed in which two recipes differ."""
    ours = left.model_dump(exclude=NOT_COMPUTED)
    theirs = right.model_dump(exclude=NOT_COMPUTED)
    return [
        f"{section}.{key}"
        for section in ours
        for key in ours[section]
        if ours[section][key] != theirs[section][key]
    ]
