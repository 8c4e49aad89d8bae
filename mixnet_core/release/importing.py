"""`mixnet import`: weights of any origin, checked, kept under MindCV's names, and known by a name.

    imported/                        of the user's cache
        NAME-DIGEST.safetensors      the weights, float32, every value as it was
        catalog.yaml                 an entry for each; or the file that MIXNET_CATALOG names has it

The digest in a copy's name is its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from mixnet_core.checkpoints.file_format import Shape, read_format
from mixnet_core.checkpoints.fit import fitting_names
from mixnet_core.checkpoints.values import expect_floating, read_values, write_safetensors
from mixnet_core.errors import DigestMismatch, InputError, IntegrityError
from mixnet_core.model.variants import FlavourName, VariantName
from mixnet_core.model.weight_names import parameters
from mixnet_core.recipe.recipe import load_recipe, recipe_names
from mixnet_core.recipe.sections import StemStride
from mixnet_core.release.catalog import (
    IMPORTED,
    CatalogEntry,
    EntryInput,
)
from mixnet_core.release.catalog_file import add_entries, own_catalog
from mixnet_core.release.local_weights import LocalWeights, local_weights
from mixnet_core.release.own_metadata import FLAVOUR, STEM
from mixnet_core.release.start import Start, start_of_file
from mixnet_core.runs.run_dir import checked_name
from mixnet_core.runs.values import Value
from mixnet_core.storage.asides import OwnAside
from mixnet_core.storage.files import file_aside, os_errors_explained, sha256_of
from mixnet_core.storage.storage import OnBytes
from mixnet_core.storage.transfer import check_url, transfer
from mixnet_core.storage.uris import refuse_credentials, shown
from mixnet_core.storage.user_cache import cache_folder

Array = NDArray[Any]

_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_ATTEMPTS = 4


class Imported(Value):
    """Says what was imported.

    Attributes:
        name: that finds it from now on.
        path: of the copy.
        sha256: hex, of the copy.
        source, source_sha256: what it was made from.
        flavour_from: who says the flavour, or that it is assumed.
        left_out: in one line, what else the source holds; "" if nothing.
        catalog: path of the file with its entry.
        reused: whether it was there already.
    """

    name: str
    path: str
    sha256: str
    source: str
    source_sha256: str
    variant: VariantName
    flavour: FlavourName
    stem_stride: StemStride
    num_classes: int
    flavour_from: str
    left_out: str
    catalog: str
    reused: bool = False


def import_weights(
    source: str,
    *,
    flavour: FlavourName | None = None,
    name: str | None = None,
    ema: bool = False,
    sha256: str | None = None,
    stem_stride: StemStride | None = None,
    recipe: str | None = None,
    on_bytes: OnBytes | None = None,
) -> Imported:
    """Checks weights strictly, and keeps a verified copy under a name.

    Args:
        source: a path, or an https, file or s3 URL, of a file as `read_format` takes it. In the
            folder of a release or a run, beside a config.json of the Hugging Face hub, and by its
            own metadata it says more of itself (`release.told`).
        flavour: whose conventions the weights follow; None: what is known of them.
        name: None: made from the file's.
        ema: take the moving averages in the file, not the weights beside them.
        sha256: hex, at least its first 8 digits: what the source has to be. None: it is taken as it
            is.
        stem_stride: of the network; None: what is known, else 2.
        recipe: by which images are read for it.
        on_bytes: told of a download's progress.

    Raises:
        InputError: no such file, no averages in it, an unusable name, or nobody says the flavour.
        DigestMismatch: the source is another one.
        IntegrityError: it is damaged, or a value is infinite or no number.
        CheckpointMismatch: it is no MixNet's, or a parameter is missing, unknown or of another
            shape.
        ReleaseConflict: other weights have the name already.
        MixnetError: as `transfer`, and what cannot be written.
    """
    refuse_credentials(source, name, recipe, sha256)
    if sha256 is not None and not _DIGEST.fullmatch(sha256):
        raise InputError(f"--sha256 {shown(sha256)} is no digest: expected 8 to 64 digits in hex")
    if name is not None:
        checked_name(name, "release")
    if recipe is not None:
        load_recipe(recipe)
        # A path is read again from wherever the next command is given.
        recipe = recipe if recipe in recipe_names() else str(Path(recipe).absolute())
    folder = cache_folder(IMPORTED)
    with os_errors_explained(folder):
        aside = OwnAside(folder)
    try:
        weights = local_weights(_here(source, aside.path, sha256, on_bytes))
        _expect_digest(source, weights.sha256, sha256)
        return _imported(
            source,
            weights,
            start_of_file(weights),
            _Asked(flavour, name or _name(weights.path), ema, stem_stride, recipe),
            folder,
        )
    finally:
        aside.drop()


@dataclass(frozen=True)
class _Asked:
    """Holds what was asked for; see the arguments of `import_weights`."""

    flavour: FlavourName | None
    name: str
    ema: bool
    stem_stride: StemStride | None
    recipe: str | None


def _here(source: str, aside: Path, sha256: str | None, on_bytes: OnBytes | None) -> Path:
    """Returns a path of the source; what lies elsewhere is downloaded."""
    scheme, separator, rest = source.partition("://")
    if not separator:
        return Path(source).expanduser()
    if scheme.lower() == "file" and rest.startswith("/"):
        return Path(unquote(urlsplit(source).path))
    check_url(source)
    target = aside / (PurePosixPath(unquote(urlsplit(source).path)).name or "weights")
    with os_errors_explained(target):
        found = transfer(source, target, attempts=_ATTEMPTS, on_bytes=on_bytes)
    # Before anything of it is read.
    _expect_digest(source, found, sha256)
    return target


def _expect_digest(source: str, found: str, expected: str | None) -> None:
    if expected is not None and not found.startswith(expected):
        raise DigestMismatch(
            f"{shown(source)} has sha256 {found}, expected {expected}: fetch it from where its "
            "digest is from, or correct --sha256; nothing was kept"
        )


def _name(path: Path) -> str:
    """Makes a usable name from a file's."""
    stem = path.name.lower()
    for suffix in (".gz", ".tar", ".pth", ".pt", ".bin", ".ckpt", ".safetensors"):
        stem = stem.removesuffix(suffix)
    generic = stem in ("model", "pytorch_model", "weights", "checkpoint", "model_best", "last")
    stem = path.absolute().parent.name.lower() if generic else stem
    found = re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")
    return checked_name(found[:100] or "imported", "release")


def _imported(
    source: str, weights: LocalWeights, start: Start, asked: _Asked, folder: Path
) -> Imported:
    network = weights.network
    flavour, said = _flavour(weights, start, asked)
    stride: StemStride = asked.stem_stride or start.network.get("stem_stride") or 2
    values = _values(weights, flavour, ema=asked.ema)
    classes = start.classes or weights.told.classes
    if len(classes or ()) != network.num_classes:
        classes = None
    read = start.input.model_dump(mode="json") if start.input else weights.told.input
    catalog = own_catalog()
    copy, sha256, was_there = _written(folder, asked.name, values, flavour, stride)
    entry = CatalogEntry(
        name=asked.name,
        url=copy.as_uri(),
        sha256=sha256,
        variant=network.variant,
        flavour=flavour,
        num_classes=network.num_classes,
        in_channels=1 if network.in_channels == 1 else 3,
        stem_stride=stride,
        recipe=asked.recipe,
        input=EntryInput.model_validate(read) if read else None,
        classes=classes,
        source=f"imported from {shown(source)}, sha256 {weights.sha256}",
        note="the moving averages of a training" if asked.ema else "",
    )
    try:
        reused = not add_entries([entry], catalog)
    except BaseException:
        if not was_there:
            copy.unlink(missing_ok=True)
        raise
    return Imported(
        name=entry.name,
        path=str(copy),
        sha256=sha256,
        source=shown(source),
        source_sha256=weights.sha256,
        variant=entry.variant,
        flavour=flavour,
        stem_stride=stride,
        num_classes=entry.num_classes,
        flavour_from=said,
        left_out=network.parts.sentence(ema=asked.ema, how="--ema"),
        catalog=str(catalog),
        reused=reused,
    )


def _flavour(weights: LocalWeights, start: Start, asked: _Asked) -> tuple[FlavourName, str]:
    """Returns the flavour, and who says so.

    Raises:
        InputError: nobody says it.
    """
    if asked.flavour is not None:
        return asked.flavour, "--flavour"
    known = start.network.get("flavour")
    if known is not None:
        if start.assumed:
            return known, f"{start.assumed} (--flavour tf)"
        return known, weights.origin.name if weights.origin else weights.told.who
    raise InputError(
        f"{shown(str(weights.path))} has MindCV's names, which all flavours may have, and nothing "
        "says whose conventions its weights follow: add --flavour mindcv, timm or tf"
    )


def _values(weights: LocalWeights, flavour: FlavourName, *, ema: bool) -> dict[str, Array]:
    """Reads the network's values by MindCV's names; every name and shape has to be there."""
    network, file = weights.network, read_format(weights.path)
    expected: Mapping[str, Shape] = {
        parameter.mindcv: parameter.shape
        for parameter in parameters(
            network.variant,
            flavour,
            num_classes=network.num_classes,
            in_channels=network.in_channels,
        )
    }
    names = fitting_names(file, network.parts, expected, ema=ema)
    found = read_values(file, [names[name] for name in expected])
    values = {name: found[names[name]] for name in expected}
    expect_floating(file, {name: array.dtype.kind == "f" for name, array in values.items()})
    odd = [name for name, array in values.items() if not np.isfinite(array).all()]
    if odd:
        raise IntegrityError(
            f"{shown(str(file.path))} holds values that are infinite or no numbers in {len(odd)} "
            f"parameters, the first is {file.names.said(odd[0])}: choose an earlier checkpoint"
        )
    return {name: np.ascontiguousarray(array, np.float32) for name, array in values.items()}


def _written(
    folder: Path, name: str, values: dict[str, Array], flavour: FlavourName, stride: int
) -> tuple[Path, str, bool]:
    """Writes a copy and reads it again; returns its path, its digest, and whether it was there."""
    metadata = {"format": "np", FLAVOUR: flavour, STEM: str(stride)}
    with os_errors_explained(folder):
        own = OwnAside(folder)
    try:
        draft = own.path / "weights.safetensors"
        write_safetensors(draft, values, metadata)
        again = read_values(read_format(draft))
        if again.keys() != values.keys() or any(
            again[key].tobytes() != array.tobytes() for key, array in values.items()
        ):
            raise IntegrityError(
                f"what was written to {draft} is not what was read: check the disk"
            )
        sha256 = sha256_of(draft)
        copy = folder / f"{name}-{sha256[:12]}.safetensors"
        was_there = copy.is_file() and sha256_of(copy) == sha256
        if not was_there:
            with file_aside(copy) as target, os_errors_explained(target):
                draft.replace(target)
    finally:
        own.drop()
    return copy, sha256, was_there
