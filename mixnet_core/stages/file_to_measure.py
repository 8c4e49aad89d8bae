"""A file of weights made ready to be measured: the network in it, and which recipe reads images."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixnet_core.checkpoints.file_format import read_format
from mixnet_core.evaluate.look import look
from mixnet_core.processes.launch import run_job
from mixnet_core.processes.requests import LookRequest, LookResult
from mixnet_core.recipe.recipe import Recipe, with_stored_rules
from mixnet_core.release.catalog import CatalogEntry
from mixnet_core.release.origin import Origin, origin_of
from mixnet_core.release.signing import require_signed_origin
from mixnet_core.release.told import Told, told_by, told_by_itself, told_of
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages.options import adjusted_recipe
from mixnet_core.stages.release_to_measure import OF_NO_RELEASE, PLAIN_CPU, imagenet_recipe
from mixnet_core.storage.asides import remove_left_asides
from mixnet_core.storage.files import fingerprint, os_errors_explained, sha256_of

_IMAGENET_CLASSES = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileToMeasure:
    """Describes a file of weights before it is measured.

    Attributes:
        file: as it was given.
        sha256: hex, of the whole file.
        folder: of the workspace, for what measuring it leaves.
        network: what its shapes say.
        origin: the release or run that it lies in; None: neither.
        told: what is known of it otherwise.
    """

    file: Path
    sha256: str
    folder: Path
    network: LookResult
    origin: Origin | None
    told: Told = field(default_factory=Told)


def look_at(
    file: Path, workspace: Workspace, *, ema: bool = False, entry: CatalogEntry | None = None
) -> FileToMeasure:
    """Finds out what network a file is for and where it lies.

    Args:
        file: `.ckpt`, `.safetensors`, `.pth` or `.onnx`.
        ema: whether the moving averages in it are wanted.
        entry: of the catalog, that it was fetched for; None: it was given by its path.

    Raises:
        InputError, IntegrityError, CheckpointMismatch: as `evaluate.look.look` and `origin_of`.
        MixnetError: as `release.signing.require_signed`, of a file in a release.
    """
    with os_errors_explained(file, "read"):
        sha256 = sha256_of(file) if file.is_file() else ""
    every = workspace.root / "evaluations"
    # Another file's too, which may never be evaluated again.
    remove_left_asides(*every.glob("*/attempts"))
    folder = every / fingerprint([str(file.absolute()), sha256])[:12]
    request = LookRequest(file=str(file.absolute()), ema=ema)
    if file.suffix == ".onnx":
        found = run_job("mixnet_core.evaluate.look", request, attempts=folder / "look")
        network = LookResult.model_validate(found)
    else:
        network = look(request)
    origin = origin_of(file, sha256)
    require_signed_origin(file, origin)
    if entry is not None:
        told = told_by(entry)
    elif origin is not None:
        told = Told()
    elif file.suffix == ".onnx":
        told = told_by_itself(network.said)
    else:
        told = told_of(read_format(file), sha256, network.variant or "")
    return FileToMeasure(file, sha256, folder, network, origin, told)


def recipe_of(
    looked: FileToMeasure,
    name: str | None = None,
    *,
    data: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Recipe:
    """Returns the recipe that the file's images are read by, with the file's own network in it.

    Args:
        name: of a recipe, or its path; None: that of the release or run that the file lies in, else
            that of the variant which shows in its shapes; on a CPU.
        data: folder of images, which decides how many classes there are; None: the file does.
        settings: dotted key -> value over that.

    Raises:
        InputError: it is of a release whose recipe is not beside it.
        MixnetError: as `options.adjusted_recipe`.
    """
    network, origin, told = looked.network, looked.origin, looked.told
    changes: dict[str, Any] = {
        "network.num_classes": network.num_classes if data is None else None,
        "network.in_channels": network.in_channels,
    }
    if network.variant is not None:
        changes["network.variant"] = network.variant
    if network.image_size is not None:
        changes["input.image_size"] = network.image_size
    changes |= told.settings
    if told.assumed and "network.flavour" not in (settings or {}):
        log.warning("%s: %s (--flavour tf)", looked.file.name, told.assumed)
    reads_origins = name is None and origin is not None
    if name is None:
        changes |= PLAIN_CPU | told.input_settings
        if origin is not None:
            name = str(origin.required_recipe(looked.file))
        elif told.entry is not None and told.entry.recipe is not None:
            name = told.entry.recipe
        elif network.num_classes == _IMAGENET_CLASSES:
            # Its source decides what kind of folder `data` is taken for.
            name = imagenet_recipe(network.variant or "s")
        else:
            name = "finetune"
            changes |= OF_NO_RELEASE
    recipe = adjusted_recipe(name, data=data, settings=changes | dict(settings or {}))
    return with_stored_rules(recipe) if reads_origins else recipe
