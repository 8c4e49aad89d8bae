"""Checks before the work: what would end a run minutes or hours later is said within seconds.

Nothing here imports MindSpore. The only traces are the workspace's folder and a small object that
is written to the publish target and deleted again.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from mixnet_core import errors
from mixnet_core.data.index import read_manifest
from mixnet_core.data.looking import found_images
from mixnet_core.data.prepare import Fits
from mixnet_core.data.source import dataset_room
from mixnet_core.errors import IntegrityError, MachineError, MixnetError
from mixnet_core.evaluate.engine import choose_engine
from mixnet_core.model.native.choice import choose_operators
from mixnet_core.recipe.kinds import OPTIMIZERS
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.recipe.sections import Data, Devices
from mixnet_core.release.initial import find_initial
from mixnet_core.release.recipe_fit import expect_weights_fit
from mixnet_core.release.weights import check_available
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.values import FetchedWeights, PreparedDataset, Value
from mixnet_core.stages.context import Context
from mixnet_core.stages.fetch import fetched_before
from mixnet_core.stages.fitting import expect_fit
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.uris import shown

# Learnable parameters with 1000 classes, rounded up.
_PARAMETERS = {"s": 4.2e6, "m": 5.1e6, "l": 7.4e6, "xl": 12e6}
_FLOAT32_BYTES = 4
# Reports, logs, metrics and what a compiler leaves.
_RUN_BYTES = 100e6


class CheckResult(Value):
    """One check's outcome.

    Attributes:
        name: workspace, disk, packages, extras, device, operators, engine, msrun, weights, data or
            publish.
        detail: what was found, in one line.
        fix: what to do; empty if ok, or where `detail` says it already.
        more: what else was found, a line each.
        error: the class in `errors` that `require` raises.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    more: tuple[str, ...] = ()
    error: str = "MachineError"


def check(context: Context, prepared: PreparedDataset | None = None) -> None:
    """Raises the first of what would end a run's work later; see `check_all`.

    Args:
        prepared: what the work begins with, where the images themselves are not needed any more.

    Raises:
        MixnetError: as the work itself would have ended.
    """
    require(
        check_all(
            context.recipe,
            workspace=context.workspace,
            registry=context.registry,
            prepared=prepared,
            fetched=fetched_before(context),
            single_writer=context.single_writer,
        )
    )


def check_all(
    recipe: Recipe,
    *,
    workspace: Workspace,
    registry: str,
    prepared: PreparedDataset | None = None,
    fetched: FetchedWeights | None = None,
    single_writer: bool = False,
) -> list[CheckResult]:
    """Runs every check; what they find is returned, not raised.

    The first failure is the one to mend first.

    Args:
        registry: URI, as `storage.open_storage` takes it.
        prepared: the dataset that is looked at instead of its source; None: there is none yet.
        fetched: the initial weights that the run has, so that nobody is asked for them.
        single_writer: whether nobody else publishes to the registry.
    """
    return [
        check_workspace(workspace),
        check_disk(recipe, workspace),
        check_packages(),
        check_extras(recipe, registry),
        check_device(recipe.devices),
        check_operators(recipe.devices),
        check_engine(recipe.devices),
        check_msrun(recipe.devices),
        check_weights(recipe, workspace.weights, registry, fetched),
        check_prepared(prepared)
        if prepared
        else check_data(recipe.data, workspace.datasets, partial(expect_fit, recipe)),
        check_publish(registry, single_writer=single_writer),
    ]


def require(results: Iterable[CheckResult]) -> None:
    """Raises the first failure as the typed error that the work itself would have ended with."""
    for result in results:
        if not result.ok:
            message = f"{result.detail}; {result.fix}" if result.fix else result.detail
            raise getattr(errors, result.error)(message)


def check_workspace(workspace: Workspace) -> CheckResult:
    """Checks that a file can be made there; the folder is made if missing."""
    try:
        with os_errors_explained(workspace.root):
            workspace.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=workspace.root) as file:
                file.write(b"writable")
    except MachineError as error:
        return _from_error("workspace", error)
    return CheckResult(name="workspace", ok=True, detail=f"{workspace.root} is writable")


def check_disk(recipe: Recipe, workspace: Workspace) -> CheckResult:
    """Compares free space with an estimate of dataset, checkpoints that are kept and weights."""
    kept = 1 + OPTIMIZERS.load(recipe.optimizer.name).states + bool(recipe.training.ema_decay)
    each = kept * _FLOAT32_BYTES
    checkpoint = _PARAMETERS[recipe.network.variant] * each
    # One more than is kept: the oldest goes only when the newest is complete.
    checkpoints = recipe.most_checkpoints * checkpoint
    place = _existing(workspace.root)
    dataset = dataset_room(recipe.data, place)
    # A file that a training wrote holds the optimizer's state and averages too.
    weights = 0.0 if recipe.weights.name is None else checkpoint
    needed = checkpoints + dataset.bytes + weights + _RUN_BYTES
    try:
        with os_errors_explained(place, "read"):
            free = shutil.disk_usage(place).free
            left = os.statvfs(place)
    except MachineError as error:
        return _from_error("disk", error)
    detail = f"{_size(free)} free at {place}, about {_size(needed)} needed"
    if free < needed:
        fix = "free space, choose another workspace or lower training.keep_checkpoints"
        return _failed("disk", detail, fix)
    # Some file systems have no fixed number of them, and say 0 of 0.
    if left.f_files and left.f_favail < dataset.files:
        detail = f"{left.f_favail:,} files fit on the disk of {place}, {dataset.files:,} are needed"
        return _failed("disk", detail, "choose another workspace, or data.layout mindrecord")
    return CheckResult(name="disk", ok=True, detail=detail)


def check_packages() -> CheckResult:
    """Checks that MindSpore is installed with a numpy that it works with; imports neither."""
    try:
        mindspore = metadata.version("mindspore")
        numpy = metadata.version("numpy")
    except metadata.PackageNotFoundError as error:
        return _failed("packages", f"{error.name} is not installed", f"pip install {error.name}")
    if int(numpy.partition(".")[0]) >= 2:
        return _failed(
            "packages",
            f"numpy {numpy} is installed, mindspore {mindspore} works with numpy 1 only",
            "pip install 'numpy<2'",
        )
    return CheckResult(name="packages", ok=True, detail=f"mindspore {mindspore}, numpy {numpy}")


def check_extras(recipe: Recipe, registry: str) -> CheckResult:
    """Checks that what only some runs need is installed; imports nothing."""
    needed = {
        "cv2": ("opencv-python-headless", "decoding images"),
        "matplotlib": ("matplotlib", "the report's plots"),
        "jinja2": ("jinja2", "the report's page"),
    }
    if "s3" in {place.partition("://")[0] for place in (registry, recipe.weights.name or "")}:
        needed["boto3"] = ("boto3", "an s3:// address")
    if (recipe.weights.name or "").endswith(".safetensors"):
        needed["safetensors"] = ("safetensors", "the initial weights")
    missing = {module: row for module, row in needed.items() if find_spec(module) is None}
    if missing:
        wanted = ", ".join(f"{package} (for {why})" for package, why in missing.values())
        packages = " ".join(package for package, _ in missing.values())
        return _failed("extras", f"not installed: {wanted}", f"pip install {packages}")
    return CheckResult(name="extras", ok=True, detail=f"found {', '.join(needed)}")


def check_device(
    devices: Devices, *, dev: Path = Path("/dev"), ascend: Path = Path("/usr/local/Ascend")
) -> CheckResult:
    """Looks for a device of the target's kind; whether it works shows only in use.

    Args:
        dev: where device files stand.
        ascend: where Ascend's toolkit is installed.
    """
    target = devices.target
    if target == "Ascend" and not (any(dev.glob("davinci[0-9]*")) or ascend.is_dir()):
        found = f"no {dev}/davinci* and no {ascend}"
    elif target == "GPU" and not any(dev.glob("nvidia[0-9]*")):
        found = f"no {dev}/nvidia*"
    else:
        return CheckResult(name="device", ok=True, detail=f"{target}: found")
    return _failed(
        "device",
        f"devices.target is {target}, but this machine has {found}",
        "run on a machine that has the device, or set devices.target to CPU",
    )


def check_operators(devices: Devices) -> CheckResult:
    """Compiles the native operators where they are wanted; without them "auto" is slow."""
    try:
        operators = choose_operators(devices.operators, target=devices.target)
    except MachineError as error:
        return _from_error("operators", error)
    slow = operators == "plain" and devices.operators == "auto" and devices.target == "CPU"
    detail = f"{operators} operators" + (", many times slower than native" if slow else "")
    return CheckResult(name="operators", ok=True, detail=detail)


def check_engine(devices: Devices) -> CheckResult:
    """Checks that what evaluates is installed: it is needed only after all of training."""
    try:
        name = choose_engine(devices)
    except MachineError as error:
        return _from_error("engine", error)
    return CheckResult(name="engine", ok=True, detail=f"{name} evaluates")


def check_msrun(devices: Devices, *, python: Path = Path(sys.executable)) -> CheckResult:
    """MindSpore's launcher stands beside the interpreter, where more than one rank needs it."""
    if devices.ranks == 1:
        return CheckResult(name="msrun", ok=True, detail="one rank runs without msrun")
    msrun = python.parent / "msrun"
    if not os.access(msrun, os.X_OK):
        return _failed(
            "msrun",
            f"devices.ranks is {devices.ranks}, but there is no executable {msrun}",
            "install mindspore into this environment, or set devices.ranks to 1",
        )
    return CheckResult(name="msrun", ok=True, detail=f"found {msrun}")


def check_weights(
    recipe: Recipe, cache: Path, registry: str, fetched: FetchedWeights | None = None
) -> CheckResult:
    """Checks that the initial weights can be had, and fit where they are on this machine already.

    Args:
        cache: of fetched weights.
        fetched: what the run has of them; None: they are looked up and asked for.
    """
    name = recipe.weights.name
    if name is None:
        return CheckResult(name="weights", ok=True, detail="training starts from scratch")
    try:
        if fetched is not None:
            file: Path | None = Path(fetched.path)
        else:
            found = find_initial(name, registry)
            file = check_available(found, cache=cache)
        left_out = expect_weights_fit(file, recipe) if file else ""
    except MixnetError as error:
        return _from_error("weights", error)
    place = f"{shown(name)} is on this machine" if file else f"{shown(name)} can be fetched"
    return CheckResult(
        name="weights", ok=True, detail=f"{place}; {left_out}" if left_out else place
    )


def check_data(data: Data, datasets: Path, fits: Fits | None = None) -> CheckResult:
    """Lists the source and cuts its splits, as `prepare` does; its images are not decoded.

    Args:
        fits: as of `data.prepare.prepare_dataset`.
    """
    try:
        found = found_images(data, datasets, fits)
    except MixnetError as error:
        return _from_error("data", error)
    return CheckResult(name="data", ok=True, detail=found.line, more=tuple(found.more))


def check_prepared(dataset: PreparedDataset) -> CheckResult:
    """Checks that the prepared dataset is the one on record; its sources may be gone."""
    try:
        stated = read_manifest(Path(dataset.root)).get("fingerprint")
    except MixnetError as error:
        return _from_error("data", error)
    if stated != dataset.fingerprint:
        return _failed(
            "data",
            f"{dataset.root} is not the dataset that this run was prepared with",
            "run `mixnet prepare` again",
            IntegrityError,
        )
    return CheckResult(name="data", ok=True, detail=f"prepared in {dataset.root}")


def check_publish(uri: str, *, single_writer: bool = False) -> CheckResult:
    """Does with small objects in the registry what publishing does, and deletes them again.

    Args:
        single_writer: as `check_all`.
    """
    try:
        lacks = open_storage(uri, single_writer=single_writer).check_writable()
    except MixnetError as error:
        return _from_error("publish", error)
    detail = "; ".join((f"{shown(uri)} is writable", *lacks))
    return CheckResult(name="publish", ok=True, detail=detail)


def _existing(path: Path) -> Path:
    """Returns the path itself, or the nearest folder above that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB"


def _failed(
    name: str, detail: str, fix: str, error: type[MixnetError] = MachineError
) -> CheckResult:
    return CheckResult(name=name, ok=False, detail=detail, fix=fix, error=error.__name__)


def _from_error(name: str, error: MixnetError) -> CheckResult:
    """Its message already ends with what to do."""
    return _failed(name, str(error), "", type(error))
