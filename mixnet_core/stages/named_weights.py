"""From whatever a user calls weights to one thing that can tell what is on images.

    a name          of a catalog entry, of a release in the registry, else of a run here
    a path          a file .ckpt, .safetensors or .onnx; a checkpoint's folder; a release's folder,
                    copied or not; a run's folder
    s3://, file://  the folder of a release

A run stands for the checkpoint that its selection chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mixnet_core.checkpoints.bundle import CONTENTS, WEIGHTS
from mixnet_core.errors import InputError, IntegrityError, ReleaseMissing
from mixnet_core.kinds.kind import did_you_mean
from mixnet_core.recipe.recipe import stored_recipe
from mixnet_core.release.catalog import load_catalog
from mixnet_core.release.initial import find_initial
from mixnet_core.release.local_weights import LocalWeights
from mixnet_core.release.origin import Origin
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.ticks import Tick, Watch, unwatched
from mixnet_core.stages.file_to_measure import look_at, recipe_of
from mixnet_core.stages.labels import Labels, labels_of
from mixnet_core.stages.on_record import OnRecord
from mixnet_core.stages.release_to_measure import (
    AnyRelease,
    Released,
    fetch_release,
    read_as,
    recipe_for_this_machine,
)
from mixnet_core.storage.files import fingerprint, os_errors_explained, sha256_of
from mixnet_core.storage.uris import refuse_credentials, shown

_NEAR = 3


def find_released(
    name: str,
    *,
    workspace: Workspace,
    registry: str,
    recipe: str | None = None,
    settings: Mapping[str, Any] | None = None,
    classes: Path | None = None,
    ema: bool = False,
    data: str | None = None,
    stage: str = "fetch",
    watch: Watch = unwatched,
) -> Released:
    """Finds what a user names, brings it here and verifies it.

    Args:
        name: as this module's table has it.
        registry: as `release.catalog.find_release` takes it.
        recipe: name or path of the recipe that reads images for a file of weights; None: as
            `file_to_measure.recipe_of` finds it. What has a recipe of its own takes no other.
        settings: dotted key -> value over the recipe.
        classes: file with the names of the classes, one a line in label order, for weights that do
            not say them; others are held to theirs.
        ema: take the moving averages that a file holds, not the weights beside them.
        data: folder of images instead of the recipe's.
        stage: the name that watchers are told.

    Raises:
        InputError: nothing is called so; a run has chosen no checkpoint yet; a recipe is given to
            what has its own; averages are asked for where there are none.
        IntegrityError, CheckpointMismatch: what is there is damaged, not what was published or
            chosen, or no MixNet's.
        DatasetError: the given names are of another number of classes, or in another order.
        MixnetError: as `find_initial` and `fetch_release`.
    """
    refuse_credentials(name, registry, recipe, str(classes))
    wanted = _Wanted(workspace, recipe, settings or {}, classes, ema, data, stage, watch)
    path = None if name in load_catalog() else _path(name)
    if path is not None and path.is_file():
        return _of_file(path, wanted)
    if path is not None and path.is_dir() and "/" in name:
        return _of_folder(path, wanted, registry)
    return _of_name(name, wanted, registry)


@dataclass(frozen=True)
class _Wanted:
    """Holds what is asked of whatever a name stands for; see the arguments of `find_released`."""

    workspace: Workspace
    recipe: str | None
    settings: Mapping[str, Any]
    classes: Path | None
    ema: bool
    data: str | None
    stage: str
    watch: Watch

    def on_bytes(self, done: int, total: int | None) -> None:
        """Tells how far fetching is."""
        self.watch(Tick(self.stage, done, total, "B", detail="weights"))

    def expect_plain(self, source: str) -> None:
        """Makes sure that nothing is asked of a release or a run that only a file can have.

        Raises:
            InputError: something is.
        """
        if self.recipe is not None:
            raise InputError(
                f"{source} has a recipe of its own, --recipe {shown(self.recipe)} is for a file of "
                "weights: leave it out, or change single keys with --set"
            )
        if self.ema:
            raise InputError(f"{source} is one set of weights: leave --ema out, or name a file")


def _path(name: str) -> Path | None:
    """Returns the path that a name or a file's URI would be; None for any other URI."""
    scheme, separator, rest = name.partition("://")
    if not separator:
        return Path(name).expanduser()
    if scheme.lower() != "file" or not rest.startswith("/"):
        return None
    return Path(unquote(urlsplit(name).path))


def _of_name(name: str, wanted: _Wanted, registry: str) -> Released:
    try:
        found = find_initial(name, registry)
    except ReleaseMissing:
        raise
    except InputError as error:
        runs = {path.parent.name for path in wanted.workspace.root.glob("runs/*/recipe.yaml")}
        if name in runs:
            return _of_run(wanted.workspace.run(name), wanted)
        path = _path(name)
        if path is not None and path.is_dir():
            return _of_folder(path, wanted, registry)
        near = did_you_mean(name, sorted(runs), _NEAR)
        raise InputError(f"{error}; of the runs here{near}" if near else str(error)) from None
    return _of_found(found, wanted)


def _of_folder(folder: Path, wanted: _Wanted, registry: str) -> Released:
    if (folder / CONTENTS).is_file():
        return _of_file(folder / WEIGHTS, wanted)
    run = RunDir(folder.absolute())
    if run.recipe.is_file():
        return _of_run(run, wanted)
    return _of_found(find_initial(str(folder.absolute()), registry), wanted)


def _of_found(found: AnyRelease | LocalWeights, wanted: _Wanted) -> Released:
    if isinstance(found, LocalWeights):
        return _of_file(found.path, wanted)
    wanted.expect_plain(f"release {found.name}")
    # Of its own: another release's recipe may be fetched at the same time.
    digest = fingerprint([found.model_dump(mode="json")])[:12]
    released = fetch_release(
        found,
        wanted.workspace.root / "loaded" / digest,
        cache=wanted.workspace.weights,
        data=wanted.data,
        settings=wanted.settings,
        on_bytes=wanted.on_bytes,
    )
    if wanted.classes is None:
        return released
    origin = Origin(released.source, None, released.published) if released.published else None
    labels = labels_of(Path(released.name), released.num_classes, origin, wanted.classes)
    return replace(released, classes=labels.classes)


def _of_run(run: RunDir, wanted: _Wanted) -> Released:
    wanted.expect_plain(f"run {run.name}")
    recipe = recipe_for_this_machine(str(run.recipe), wanted.data, wanted.settings)
    record = OnRecord(stored_recipe(run.recipe), run)
    try:
        chosen, classes = record.selection().chosen, record.dataset().classes
    except InputError as error:
        raise InputError(f"{error}; or name a file below {shown(str(run.checkpoints))}") from None
    with os_errors_explained(chosen.weights, "read"):
        sha256 = sha256_of(chosen.weights) if chosen.weights.is_file() else ""
    if sha256 != chosen.weights_sha256:
        raise IntegrityError(
            f"{shown(str(chosen.weights))} is not what was selected: run `mixnet run --run "
            f"{run.name}`, which trains what is missing, or restore the file"
        )
    labels = labels_of(
        chosen.weights, len(classes), Origin(f"run {run.name}", run.recipe), wanted.classes
    )
    return Released(
        name=run.name,
        recipe=recipe,
        weights=chosen.weights,
        sha256=sha256,
        classes=labels.classes or classes,
        source=f"run {run.name}, {chosen.kind}, step {chosen.step}",
        read_as=read_as(recipe, f"run {run.name}"),
        run=run,
    )


def _of_file(path: Path, wanted: _Wanted) -> Released:
    looked = look_at(path, wanted.workspace, ema=wanted.ema)
    origin = looked.origin
    recipe = recipe_of(looked, wanted.recipe, data=wanted.data, settings=wanted.settings)
    known = Labels(looked.told.classes, looked.told.who)
    labels = labels_of(path, looked.network.num_classes, origin, wanted.classes, known)
    if labels.classes is not None and len(labels.classes) != looked.network.num_classes:
        raise IntegrityError(
            f"{shown(str(path))} is for {looked.network.num_classes} classes, {labels.source} has "
            f"{len(labels.classes)}: name them with --classes FILE, one a line in label order"
        )
    of = origin.name if origin and wanted.recipe is None else None
    in_run = origin is not None and origin.release is None and origin.recipe is not None
    return Released(
        name=path.name,
        recipe=recipe,
        weights=path.absolute(),
        sha256=looked.sha256,
        classes=labels.classes,
        source=f"file {path.name}" + (f" of {origin.name}" if origin else ""),
        read_as=read_as(recipe, of, given=wanted.recipe is not None),
        ema=wanted.ema,
        left_out=looked.network.left_out,
        published=origin.release if origin else None,
        run=RunDir(origin.recipe.parent) if in_run and origin and origin.recipe else None,
    )
