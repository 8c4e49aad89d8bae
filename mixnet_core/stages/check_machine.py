"""Checks of the machine: what it has, and whether a recipe's work fits on it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from mixnet_core.data.source import dataset_room
from mixnet_core.errors import MachineError, MixnetError
from mixnet_core.evaluate.engine import choose_engine
from mixnet_core.host.file_system import nearest_existing
from mixnet_core.model.native.choice import choose_operators
from mixnet_core.processes.held_devices import device_files, devices_here
from mixnet_core.recipe.kinds import OPTIMIZERS
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.recipe.sections import Devices
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages.check_result import CheckResult, failed, from_error, gigabytes
from mixnet_core.storage.files import os_errors_explained

# Learnable parameters with 1000 classes, rounded up.
_PARAMETERS = {"s": 4.2e6, "m": 5.1e6, "l": 7.4e6, "xl": 12e6}
_FLOAT32_BYTES = 4
# Reports, logs, metrics and what a compiler leaves.
_RUN_BYTES = 100e6
_TOOLKIT = Path("/usr/local/Ascend")


def check_workspace(workspace: Workspace) -> CheckResult:
    """Checks that a file can be made there; the folder is made if missing."""
    try:
        with os_errors_explained(workspace.root):
            workspace.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=workspace.root) as file:
                file.write(b"writable")
    except MachineError as error:
        return from_error("workspace", error)
    return CheckResult(name="workspace", ok=True, detail=f"{workspace.root} is writable")


def check_disk(recipe: Recipe, workspace: Workspace) -> CheckResult:
    """Compares free space with an estimate of dataset, checkpoints that are kept and weights."""
    kept = 1 + OPTIMIZERS.load(recipe.optimizer.name).states + bool(recipe.training.ema_decay)
    each = kept * _FLOAT32_BYTES
    checkpoint = _PARAMETERS[recipe.network.variant] * each
    # One more than is kept: the oldest goes only when the newest is complete.
    checkpoints = recipe.most_checkpoints * checkpoint
    place = nearest_existing(workspace.root)
    dataset = dataset_room(recipe.data, place)
    # A file that a training wrote holds the optimizer's state and averages too.
    weights = 0.0 if recipe.weights.name is None else checkpoint
    needed = checkpoints + dataset.bytes + weights + _RUN_BYTES
    try:
        with os_errors_explained(place, "read"):
            free = shutil.disk_usage(place).free
            left = os.statvfs(place)
    except MachineError as error:
        return from_error("disk", error)
    detail = f"{gigabytes(free)} free at {place}, about {gigabytes(needed)} needed"
    if free < needed:
        fix = "free space, choose another workspace or lower training.keep_checkpoints"
        return failed("disk", detail, fix)
    # Some file systems have no fixed number of them, and say 0 of 0.
    if left.f_files and left.f_favail < dataset.files:
        detail = f"{left.f_favail:,} files fit on the disk of {place}, {dataset.files:,} are needed"
        return failed("disk", detail, "choose another workspace, or data.layout mindrecord")
    return CheckResult(name="disk", ok=True, detail=detail)


def check_packages() -> CheckResult:
    """Checks that MindSpore is installed with a numpy that it works with; imports neither."""
    try:
        mindspore = metadata.version("mindspore")
        numpy = metadata.version("numpy")
    except metadata.PackageNotFoundError as error:
        return failed("packages", f"{error.name} is not installed", f"pip install {error.name}")
    if int(numpy.partition(".")[0]) >= 2:
        return failed(
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
        return failed("extras", f"not installed: {wanted}", f"pip install {packages}")
    return CheckResult(name="extras", ok=True, detail=f"found {', '.join(needed)}")


def check_device(
    devices: Devices, *, ranks: int = 1, dev: Path = Path("/dev"), toolkit: Path = _TOOLKIT
) -> CheckResult:
    """Looks for devices of the target's kind; whether they work shows only in use.

    Args:
        ranks: how many are wanted.
        dev: where device files stand.
        toolkit: where Ascend's is installed, on machines without a device too.
    """
    target = devices.target
    if target == "CPU":
        return CheckResult(name="device", ok=True, detail="CPU: found")
    try:
        found = devices_here(target, dev)
    except MixnetError as error:
        return from_error("device", error)
    if len(found) >= ranks:
        listed = ", ".join(map(str, found))
        return CheckResult(name="device", ok=True, detail=f"{target}: found {listed}")
    fix = "run on a machine that has the device, or set devices.target to CPU"
    if found:
        said = f"devices.ranks is {ranks}, but this machine has {len(found)} {target} device(s)"
        return failed("device", said, "lower devices.ranks, or run on a machine that has as many")
    said = f"devices.target is {target}, but this machine has no {device_files(target, dev)}"
    if target == "Ascend" and toolkit.is_dir():
        fix = f"{toolkit} alone is no device: install the driver, or pass --device to the container"
    return failed("device", said, fix)


def check_operators(devices: Devices) -> CheckResult:
    """Compiles the native operators where they are wanted; without them "auto" is slow."""
    try:
        operators = choose_operators(devices.operators, target=devices.target)
    except MachineError as error:
        return from_error("operators", error)
    slow = operators == "plain" and devices.operators == "auto" and devices.target == "CPU"
    detail = f"{operators} operators" + (", many times slower than native" if slow else "")
    return CheckResult(name="operators", ok=True, detail=detail)


def check_engine(devices: Devices) -> CheckResult:
    """Checks that what evaluates is installed: it is needed only after all of training."""
    try:
        name = choose_engine(devices)
    except MachineError as error:
        return from_error("engine", error)
    return CheckResult(name="engine", ok=True, detail=f"{name} evaluates")


def check_msrun(devices: Devices, *, python: Path = Path(sys.executable)) -> CheckResult:
    """MindSpore's launcher stands beside the interpreter, where more than one rank needs it."""
    if devices.hosts * devices.ranks == 1:
        return CheckResult(name="msrun", ok=True, detail="one rank runs without msrun")
    msrun = python.parent / "msrun"
    if not os.access(msrun, os.X_OK):
        return failed(
            "msrun",
            f"devices.ranks is {devices.ranks}, but there is no executable {msrun}",
            "install mindspore into this environment, or set devices.ranks to 1",
        )
    return CheckResult(name="msrun", ok=True, detail=f"found {msrun}")


def check_virtual_ranks(recipe: Recipe) -> CheckResult:
    """Says on how many ranks a recipe with virtual ranks trains the same bits."""
    batch, _, _ = recipe.batch_sentence.rpartition(", learning rate")
    detail = f"{batch}; the same bits on {recipe.ranks_of_the_same}"
    if recipe.fixed_threads is None:
        detail = f"{batch}; the same order of sums on {recipe.ranks_of_the_same}"
    elif recipe.fixed_threads == 1:
        detail += ", each on one thread"
    else:
        detail += f", each on {recipe.fixed_threads} threads"
    return CheckResult(name="virtual ranks", ok=True, detail=detail)
