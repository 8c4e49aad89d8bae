"""What a workspace holds on disk, which of it a run needs, and removing the rest.

A run needs the dataset and the weights that its records name. A run that a process works on is
never touched, nor is what anything may need whose records do not say it yet.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mixnet_core.errors import InputError, MixnetError
from mixnet_core.recipe.recipe import Recipe, stored_recipe
from mixnet_core.runs.records import exclusive, existing_run, recorded, trained_dataset
from mixnet_core.runs.run_dir import RunDir, Workspace, is_name
from mixnet_core.runs.values import FetchedWeights, PreparedDataset, Validation
from mixnet_core.storage.asides import ASIDE_PREFIX, held_aside
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.user_cache import cache_folder

STAGES = ("prepare", "fetch", "train", "select", "validate", "accept", "publish")
Kind = Literal["datasets", "weights", "cache"]
KINDS: tuple[Kind, ...] = ("datasets", "weights", "cache")
# Of the user's cache, and of a workspace: what is made anew where it is missing.
_CACHES = ("native", "engines")
_SCRATCH = ("evaluations", "loaded", "revalidations")
# What a process made a moment ago may be named by no record yet.
LEAST_SECONDS = 3600.0


@dataclass(frozen=True)
class Kept:
    """Describes a folder or file of a workspace.

    Attributes:
        bytes: what removing it would free: hard links to files elsewhere free nothing.
        touched: when anything in it was last written: seconds since 1970.
        needed: the names of the runs that need it.
    """

    path: Path
    bytes: int
    touched: float
    needed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class KeptRun(Kept):
    """Describes a run.

    Attributes:
        recipe: its name; "" where it cannot be read.
        stage: the last that finished; "" where none did.
        top1: share on the val split; None where it was not validated.
        at_work: whether a process works on it now.
    """

    recipe: str = ""
    stage: str = ""
    top1: float | None = None
    at_work: bool = False


@dataclass(frozen=True)
class Use:
    """Holds what a workspace holds, each by name."""

    runs: tuple[KeptRun, ...]
    datasets: tuple[Kept, ...]
    weights: tuple[Kept, ...]
    cache: tuple[Kept, ...]


def workspace_use(workspace: Workspace) -> Use:
    """Looks at a workspace, and at the user's cache.

    Raises:
        MachineError: a folder cannot be read.
    """
    found = [_look_at(run) for run in _runs(workspace)]
    needs: dict[tuple[str, ...], list[str]] = {}
    for run, recipe in found:
        for path in _needed(RunDir(run.path), recipe):
            needs.setdefault(_place(path), []).append(run.name)

    def kept(folder: Path) -> tuple[Kept, ...]:
        return tuple(_kept(path, needs) for path in _entries(folder))

    caches = [cache_folder(kind) for kind in _CACHES]
    scratch = [workspace.root / name for name in _SCRATCH]
    return Use(
        runs=tuple(run for run, _ in found),
        datasets=kept(workspace.datasets),
        weights=kept(workspace.weights),
        cache=tuple(item for path in [*caches, *scratch] if (item := _kept(path, {})).bytes),
    )


def clean_run(workspace: Workspace, name: str, *, dry_run: bool = False) -> Kept:
    """Removes a run: its checkpoints, records and reports. What it published stays.

    Raises:
        InputError: there is no such run.
        TransientError: a process works on it.
        MachineError: it cannot be removed.
    """
    if is_name(name) and workspace.run(name).root.is_dir():
        # One whose recipe was never written, or cannot be read, too.
        run = workspace.run(name)
    else:
        run, _ = existing_run(workspace, name)
    kept, _ = _look_at(run)
    with exclusive(run, seconds=0.0):
        if not dry_run:
            _remove(run.root)
    return kept


def clean(
    workspace: Workspace,
    kinds: Sequence[Kind],
    *,
    older_seconds: float = LEAST_SECONDS,
    dry_run: bool = False,
) -> tuple[list[Kept], list[tuple[Kept, str]]]:
    """Removes what no run needs.

    Args:
        older_seconds: what was written since stays.

    Returns:
        What was removed, and what was left with the reason.

    Raises:
        MachineError: something cannot be removed.
    """
    use, now = workspace_use(workspace), time.time()
    # Between two stages nobody holds the run.
    busy = [
        run
        for run in use.runs
        if run.at_work or (now - run.touched < LEAST_SECONDS and run.stage != STAGES[-1])
    ]
    removed: list[Kept] = []
    left: list[tuple[Kept, str]] = []
    for kind in kinds:
        for item in getattr(use, kind):
            why = ""
            if item.needed:
                why = f"needed by {', '.join(item.needed)}"
            elif item.path.is_symlink():
                why = "it is a link, which somebody made"
            elif now - item.touched < older_seconds:
                why = "written not long ago"
            else:
                untold = [run.name for run in busy if not _says(workspace.run(run.name), kind)]
                if untold:
                    why = f"{untold[0]} is at work, and may need what its records do not say yet"
            if why:
                left.append((item, why))
                continue
            if not dry_run:
                _remove(item.path)
            removed.append(item)
    return removed, left


def _says(run: RunDir, kind: Kind) -> bool:
    """Tells whether a run's records say what it needs of a kind."""
    if kind == "cache":
        return True
    if kind == "datasets":
        return run.record("prepare").is_file()
    try:
        starts_afresh = stored_recipe(run.recipe).weights.name is None
    except MixnetError:
        return False
    return starts_afresh or run.record("fetch").is_file()


def _runs(workspace: Workspace) -> list[RunDir]:
    return [RunDir(path) for path in _entries(workspace.root / "runs") if path.is_dir()]


def _look_at(run: RunDir) -> tuple[KeptRun, Recipe | None]:
    recipe = None
    with suppress(MixnetError):
        recipe = stored_recipe(run.recipe) if run.recipe.is_file() else None
    validated = None
    with suppress(MixnetError):
        validated = recorded(run, "validate", Validation)
    finished = [stage for stage in STAGES if run.record(stage).is_file()]
    size, touched = _size(run.root)
    return KeptRun(
        run.root,
        size,
        touched,
        recipe=recipe.name if recipe else "",
        stage=finished[-1] if finished else "",
        top1=validated.score.top1 if validated else None,
        at_work=is_locked(run),
    ), recipe


def _needed(run: RunDir, recipe: Recipe | None) -> Iterator[Path]:
    """Yields what a run's records name."""
    with suppress(MixnetError):
        yield Path(recorded(run, "prepare", PreparedDataset).root)
    with suppress(MixnetError):
        trained = trained_dataset(run)
        if trained is not None:
            yield Path(trained.root)
    if recipe is None or recipe.weights.name is not None:
        with suppress(MixnetError):
            weights = recorded(run, "fetch", FetchedWeights)
            yield Path(weights.path)
            # Its pin, which tells a changed source.
            yield Path(weights.path).with_suffix(".json")
            if weights.seen:
                yield Path(weights.seen)


def is_locked(run: RunDir) -> bool:
    """Tells whether a process works on a run; one on another machine may not be seen."""
    kind = fcntl.LOCK_EX
    try:
        try:
            handle = os.open(run.lock, os.O_RDWR)
        except PermissionError:
            # Another user's, who lets everybody read it: a lock for readers meets theirs too.
            handle, kind = os.open(run.lock, os.O_RDONLY), fcntl.LOCK_SH
    except OSError:
        return False
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _place(path: Path) -> tuple[str, ...]:
    """Returns where in its workspace a path is: a link, a container or a move names that anew."""
    return path.parts[-2:]


def _kept(path: Path, needs: dict[tuple[str, ...], list[str]]) -> Kept:
    size, touched = _size(path)
    return Kept(path, size, touched, tuple(dict.fromkeys(needs.get(_place(path), ()))))


def _entries(folder: Path) -> list[Path]:
    with os_errors_explained(folder, "read"):
        if not folder.is_dir():
            return []
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _size(path: Path) -> tuple[int, float]:
    """Returns what removing a path frees, and when it was last written."""
    total, touched = 0, 0.0
    with os_errors_explained(path, "read"):
        files = [path]
        if path.is_dir():
            files = [Path(place) / name for place, _, names in os.walk(path) for name in names]
        for file in files:
            # Another process may have deleted it since.
            with suppress(FileNotFoundError):
                state = file.lstat()
                total += state.st_size if state.st_nlink == 1 else 0
                touched = max(touched, state.st_mtime)
        with suppress(FileNotFoundError):
            touched = touched or path.lstat().st_mtime
    return total, touched


def _remove(path: Path) -> None:
    """Removes a file or folder: it is gone at once, and no half of it is ever found.

    Raises:
        InputError: it is a link, which somebody made.
        MachineError: it cannot be removed.
    """
    if path.is_symlink():
        raise InputError(f"{path} is a link: remove it yourself")
    with os_errors_explained(path, "delete"), held_aside(path.parent) as held:
        path.rename(held.path / path.name.removeprefix(ASIDE_PREFIX))
