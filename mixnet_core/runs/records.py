"""A run on disk: one recipe, one process at a time, its finished stages on record.

A record says what a stage's result was made from and what it returned. A stage whose record says
the same inputs, and whose files are still there, is not done again; a record that says others is
taken for nothing.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mixnet_core.errors import InputError, IntegrityError, MachineError, TransientError
from mixnet_core.recipe.recipe import (
    NOT_COMPUTED,
    Recipe,
    save_recipe,
    stored_recipe,
)
from mixnet_core.recipe.rules import NEWEST
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.storage.files import fingerprint, os_errors_explained, read_json, write_json
from mixnet_core.storage.uris import shown

# Changes when a stage's result changes for equal inputs.
RECORD_FORMAT = 1
# A killed run's processes save what they did, within `devices.grace_seconds`, and are gone ten
# seconds after that; until then they hold the lock.
LOCK_SECONDS = 40.0

V = TypeVar("V", bound=BaseModel)

log = logging.getLogger(__name__)


def open_run(
    recipe: Recipe,
    workspace: Workspace,
    name: str | None = None,
    *,
    lock_seconds: float = LOCK_SECONDS,
) -> tuple[RunDir, Recipe]:
    """Opens a run, new or begun earlier with the same recipe, and says the recipe that it has now.

    `recipe.yaml` in it is written under the run's lock only: the process that holds it computes
    with what stands in it. A run keeps the rules that it began by (`recipe.rules`).

    Args:
        name: None: the recipe's name and the beginning of its fingerprint, so that equal recipes
            share a run and different ones never do.
        lock_seconds: how long to wait for another process that works on the run.

    Raises:
        InputError: the name is unusable, or the run was begun with another recipe or other rules.
        MachineError: the workspace cannot be written.
        TransientError: its recipe would change, but another process works on the run.
    """
    run = workspace.run(name or default_name(recipe))
    wanted, is_written = _wanted(run, recipe)
    if not is_written:
        try:
            with exclusive(run, lock_seconds):
                # Another process may have written it while this one waited.
                wanted, is_written = _wanted(run, recipe)
                if not is_written:
                    save_recipe(wanted, run.recipe)
        except TransientError:
            wanted, is_written = _wanted(run, recipe)
            if not run.recipe.is_file():
                raise
            if not is_written:
                raise _otherwise(run, wanted) from None
    return run, wanted


def _otherwise(run: RunDir, wanted: Recipe) -> TransientError:
    """Returns the error for a run that another process works on with other settings than these."""
    stored = stored_recipe(run.recipe)
    theirs, ours = stored.model_dump(mode="json"), wanted.model_dump(mode="json")
    others = [
        f"{section}.{key} is {theirs[section][key]}, not {value}"
        for section, values in ours.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if theirs[section][key] != value
    ]
    others += [f"{key} is another" for key, value in ours.items() if theirs[key] != value]
    return TransientError(
        f"another process works on run {run.name}, where "
        f"{shown(others[0]) if others else 'the recipe is another'}: say the same here, "
        "wait until it has ended, or choose another run name"
    )


def _wanted(run: RunDir, recipe: Recipe) -> tuple[Recipe, bool]:
    """Returns the recipe with the run's rules, and whether that is what the run's file says."""
    if not run.recipe.is_file():
        return recipe.model_copy(update={"rules": recipe.rules or NEWEST}), False
    stored = stored_recipe(run.recipe)
    if stored.fingerprint != recipe.fingerprint:
        raise InputError(
            f"run {run.name} was begun with another recipe (differs in "
            f"{', '.join(_differences(stored, recipe))}): choose another run name, or delete "
            f"{run.root}"
        )
    if recipe.rules not in (None, stored.rules):
        raise InputError(
            f"run {run.name} was begun by rules {stored.rules}, the recipe says {recipe.rules}: "
            f"leave rules out, choose another run name, or delete {run.root}"
        )
    wanted = recipe.model_copy(update={"rules": stored.rules})
    # Where it names no rules it stays so: what was published from it has its digest.
    return wanted, stored == wanted


def existing_run(workspace: Workspace, name: str) -> tuple[RunDir, Recipe]:
    """Finds a run and the recipe that it has.

    Raises:
        InputError: there is no such run.
        RecipeError: its recipe cannot be read.
    """
    run = workspace.run(name)
    if not run.recipe.is_file():
        runs = sorted(path.parent.name for path in workspace.root.glob("runs/*/recipe.yaml"))
        known = f"expected one of {', '.join(runs)}" if runs else "there are no runs yet"
        raise InputError(f"no run {shown(name)!r} in {workspace.root}: {known}")
    return run, stored_recipe(run.recipe)


@contextmanager
def exclusive(run: RunDir, seconds: float = LOCK_SECONDS) -> Iterator[int]:
    """Holds the run against other processes; yields the lock's file descriptor.

    A child that inherits the descriptor keeps the lock beyond its parent's death, so a new attempt
    never writes beside an old one that is still ending.

    Raises:
        TransientError: another process still held it after `seconds`.
        MachineError: it cannot be written, or its file system has no locks.
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
            except OSError as error:
                raise MachineError(
                    f"cannot lock {run.lock}: {error.strerror or error}; without locks two "
                    "processes could write one run: put the workspace on a file system that has "
                    "them (NFS: version 4, or mounted without nolock)"
                ) from error
        yield handle
    finally:
        os.close(handle)


def key_of(**inputs: object) -> str:
    """Returns the hex sha256 of a stage's inputs, JSON values."""
    return fingerprint({"format": RECORD_FORMAT, **inputs})


def begin(
    run: RunDir, stage: str, key: str, otherwise: str, dataset: PreparedDataset | None = None
) -> None:
    """Notes what a stage is given before it leaves anything that a later attempt would build on.

    Args:
        key: of the stage's inputs.
        dataset: what it works on; see `trained_dataset`.

    Raises:
        InputError: it was begun with other inputs; `otherwise` names them.
        IntegrityError: the note is damaged.
        MachineError: it cannot be written.
    """
    path = run.record(f"{stage}-begun")
    if path.is_file():
        if read_json(path).get("key") != key:
            raise InputError(
                f"run {run.name} was begun with {otherwise}: choose another run name, or delete "
                f"{run.root}"
            )
        return
    given = {} if dataset is None else {"dataset": dataset.model_dump(mode="json")}
    write_json(path, {"key": key, **given})


def trained_dataset(run: RunDir) -> PreparedDataset | None:
    """Returns what a run's checkpoints were trained on, whatever was prepared for it since.

    Returns:
        None where it did not begin to train, or that is not known of a run of an earlier version.

    Raises:
        IntegrityError: a record is damaged.
    """
    begun, prepared = run.record("train-begun"), run.record("prepare")
    if not begun.is_file():
        return None
    given = read_json(begun).get("dataset")
    if given is not None:
        try:
            return PreparedDataset.model_validate_json(_json(given))
        except ValidationError as error:
            raise IntegrityError(f"{begun} is damaged: {error.error_count()} faults") from error
    # Earlier versions noted a key only: what was prepared before it began is what it began with.
    if prepared.is_file() and prepared.stat().st_mtime_ns <= begun.stat().st_mtime_ns:
        return recorded(run, "prepare", PreparedDataset)
    return None


def write_record(run: RunDir, stage: str, inputs: Mapping[str, object], result: BaseModel) -> None:
    """Notes that the stage finished: what its result was made from, JSON values, and what it is.

    Raises:
        MachineError: it cannot be written.
    """
    data = {
        "key": key_of(**inputs),
        "inputs": dict(inputs),
        "result": result.model_dump(mode="json"),
    }
    write_json(run.record(stage), data)


def forget(run: RunDir, *stages: str) -> None:
    """Removes records before the files that they speak of are written anew.

    Raises:
        MachineError: it cannot be removed.
    """
    for stage in stages:
        with os_errors_explained(run.record(stage), "delete"):
            run.record(stage).unlink(missing_ok=True)


def finished(run: RunDir, stage: str, inputs: Mapping[str, object], kind: type[V]) -> V | None:
    """Returns the recorded result if it was made from these inputs, marked as reused."""
    key = key_of(**inputs)
    try:
        record = read_json(run.record(stage))
        result = kind.model_validate_json(_json(record["result"])) if record["key"] == key else None
    except InputError:
        return None
    except (IntegrityError, ValidationError, KeyError, TypeError) as error:
        log.warning("the record of stage %s is unusable, it is done again: %s", stage, error)
        return None
    return result.model_copy(update={"reused": True}) if result else None


def recorded(
    run: RunDir, stage: str, kind: type[V], inputs: Mapping[str, object] | None = None
) -> V:
    """Returns the stage's newest result.

    Args:
        inputs: what it must have been made from; None: whatever it was.

    Raises:
        InputError: it has not finished yet, or was made from something else, which is named.
        IntegrityError: its record is damaged.
    """
    path = run.record(stage)
    if not path.is_file():
        raise InputError(
            f"run {run.name} has no finished stage {stage}: run `mixnet {stage} --run {run.name}` "
            "first"
        )
    try:
        record = read_json(path)
        result = kind.model_validate_json(_json(record["result"]))
        if inputs is None or record["key"] == key_of(**inputs):
            return result
        before = record.get("inputs", {})
        others = [name for name, value in inputs.items() if before.get(name) != _plain(value)]
    except (ValidationError, AttributeError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged: run `mixnet {stage}` again") from error
    raise InputError(
        f"stage {stage} of run {run.name} was done with another {' and '.join(others)} than stands "
        f"before it now: run `mixnet {stage} --run {run.name}` again"
    )


def default_name(recipe: Recipe) -> str:
    """Returns a run's name for a recipe: a path component, whatever the recipe is called."""
    plain = re.sub(r"[^a-z0-9_]+", "-", recipe.name.lower()).strip("-_")[:60]
    return f"{plain or 'run'}-{recipe.fingerprint[:8]}"


def _json(data: object) -> str:
    return json.dumps(data)


def _plain(data: object) -> Any:
    """Returns the data as it is read from a file: tuples become lists."""
    return json.loads(json.dumps(data))


def _differences(left: Recipe, right: Recipe) -> list[str]:
    """Returns the dotted keys in which what two recipes compute differs."""
    ours = left.model_dump(exclude=NOT_COMPUTED)
    theirs = right.model_dump(exclude=NOT_COMPUTED)
    return [
        f"{section}.{key}"
        for section in ours
        for key in ours[section]
        if ours[section][key] != theirs[section][key]
    ]
