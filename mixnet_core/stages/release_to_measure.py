"""A release made ready to be measured: its own recipe and its weights, both verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mixnet_core.data.class_names import labels_by_name
from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.errors import (
    DatasetError,
    DigestMismatch,
    InputError,
    IntegrityError,
    ReleaseMissing,
)
from mixnet_core.evaluate.job import Measured, measure
from mixnet_core.recipe.recipe import Recipe, with_stored_rules
from mixnet_core.release.catalog import CatalogEntry
from mixnet_core.release.manifest import PublishedRelease, ReleasedFile
from mixnet_core.release.weights import check_available, fetch_release_weights
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.ticks import Watch
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.stages.check_machine import check_device
from mixnet_core.stages.options import adjusted_recipe
from mixnet_core.storage.files import file_aside
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.storage import OnBytes

# Settings that evaluate on any machine; figures are float32's on every device.
PLAIN_CPU: dict[str, Any] = {
    "devices.target": "CPU",
    "devices.ranks": 1,
    "devices.engine": "auto",
    "precision.amp_level": "O0",
}

# Over `finetune`, for weights that are measured and not started from.
OF_NO_RELEASE: dict[str, Any] = {"weights.name": None, "weights.reset_classifier": False}

AnyRelease = CatalogEntry | PublishedRelease


@dataclass(frozen=True)
class Released:
    """Holds a release that is on this machine, or what else has weights and a recipe.

    Attributes:
        name: of the release, the run or the file.
        recipe: its network, and how its images are read: by the rules that it was measured by.
        weights: the file.
        sha256: its hex digest, verified.
        classes: names in label order; None where the release does not say them.
        source: for people, what it is: "release mine", "run mine, step 24", "file w.ckpt".
        read_as: for people, network and transform of its images, and whose recipe says so.
        ema: whether the moving averages in the file are meant, not the weights beside them.
        left_out: in one line, what else the file holds; "" if nothing.
        published: its manifest, which names the files of evidence; None for a catalog entry, and
            for what lies in no release.
        run: the run that it is of, where it is of none that was published.
    """

    name: str
    recipe: Recipe
    weights: Path
    sha256: str
    classes: tuple[str, ...] | None
    source: str = ""
    read_as: str = ""
    ema: bool = False
    left_out: str = ""
    published: PublishedRelease | None = None
    run: RunDir | None = None

    @property
    def num_classes(self) -> int:
        """Returns the width of its classifier.

        Raises:
            IntegrityError: neither its classes nor its recipe says it.
        """
        width = self.recipe.network.num_classes if self.classes is None else len(self.classes)
        if width is None:
            raise IntegrityError(f"{self.source} does not say its classes: publish it again")
        return width


def fetch_release(
    release: AnyRelease,
    folder: Path,
    *,
    cache: Path,
    pins: Path | None = None,
    data: str | None = None,
    settings: Mapping[str, Any] | None = None,
    on_bytes: OnBytes | None = None,
) -> Released:
    """Fetches what measuring a release needs.

    Args:
        folder: for its recipe.
        cache: for its weights; what is there already is verified again, not fetched.
        pins: as `release.weights.fetch_release_weights`.
        data: folder of images instead of the recipe's, for a machine that has them elsewhere.
        settings: dotted key -> value over its recipe.

    Raises:
        IntegrityError: what is stored is not what was published, or it holds no recipe.
        ReleaseMissing: a file of it is not there any more.
        MixnetError: as `release.weights.fetch_release_weights` and `options.adjusted_recipe`.
    """
    recipe = _recipe(release, folder, data, settings or {})
    weights = fetch_release_weights(release, cache=cache, pins=pins, on_bytes=on_bytes)
    return Released(
        name=release.name,
        recipe=recipe,
        weights=Path(weights.path),
        sha256=weights.sha256,
        classes=_classes(release, recipe),
        source=f"release {release.name}",
        read_as=read_as(recipe, f"release {release.name}"),
        published=release if isinstance(release, PublishedRelease) else None,
    )


def _classes(release: AnyRelease, recipe: Recipe) -> tuple[str, ...] | None:
    """Returns a release's classes; a catalog's of 1,000 that is read as ImageNet has ImageNet's."""
    if release.classes is not None:
        return release.classes
    if isinstance(release, CatalogEntry) and release.num_classes == len(wnids()):
        return wnids() if release.recipe in (None, imagenet_recipe(release.variant)) else None
    return release.classes


def fetch_file(release: PublishedRelease, role: str, target: Path) -> Path:
    """Fetches one file of a published release and verifies it.

    Raises:
        IntegrityError: the release has no such role, or the bytes are not what was published.
        ReleaseMissing: the file is not there any more.
        MachineError, TransientError: as `storage.Storage.download`.
    """
    file: ReleasedFile | None = release.files.get(role)
    if file is None:
        raise IntegrityError(
            f"release {release.shown_uri} holds no {role}, so it cannot be measured: expected "
            f"files in the roles weights and {role}; publish it again with `mixnet publish`"
        )
    with file_aside(target) as aside:
        try:
            sha256 = open_storage(release.uri).download(file.name, aside)
        except InputError as error:
            raise ReleaseMissing(str(error)) from error
        if sha256 != file.sha256:
            raise DigestMismatch(
                f"{release.uri}/{file.name} has sha256 {sha256}, expected {file.sha256}, as its "
                "manifest says: publish the release again; nothing was kept"
            )
    return target


def expect_measurable(
    release: AnyRelease, *, cache: Path, classes: tuple[str, ...] | None, images: str
) -> tuple[str, ...] | None:
    """Makes sure, before anything is trained, that a release can be measured on a dataset.

    Its recipe is fetched and read, its weights are asked for; nothing is left.

    Args:
        cache: as `fetch_release`.
        classes: the dataset's, in label order; None where they are not known yet.
        images: where they are, for errors.

    Returns:
        The release's classes; None where it does not say them.

    Raises:
        DatasetError: the dataset's classes are not the release's.
        MixnetError: as `fetch_release`.
    """
    with TemporaryDirectory() as folder:
        recipe = _recipe(release, Path(folder), None, {})
    theirs = _classes(release, recipe)
    if classes is not None:
        columns(release.name, theirs, classes, images)
        number = recipe.network.num_classes
        if theirs is None and number is not None and number != len(classes):
            raise DatasetError(
                f"{images} has {len(classes):,} classes, release {release.name} is for "
                f"{number:,}: give the folder of the release's images, or another release"
            )
    check_available(release, cache=cache)
    return theirs


def measure_release(
    released: Released,
    dataset: PreparedDataset,
    *,
    stage: str,
    attempts: Path,
    keep_open: tuple[int, ...] = (),
    watch: Watch,
) -> Measured:
    """Predicts a dataset's val split with a release; images are read as its own recipe says.

    Raises:
        DatasetError: the dataset's classes are not the release's; they may be in another order.
        MixnetError: as `evaluate.job.measure`.
    """
    return measure(
        released.recipe,
        dataset,
        [released.weights],
        split="val",
        stage=stage,
        attempts=attempts,
        keep_open=keep_open,
        columns=columns(released.name, released.classes, dataset.classes, dataset.root),
        watch=watch,
    )


def imagenet_recipe(variant: str) -> str:
    """Returns the name of the bundled recipe that reads ImageNet for a variant."""
    return f"mixnet_{variant}"


def columns(
    name: str, classes: tuple[str, ...] | None, found: tuple[str, ...], images: str
) -> tuple[int, ...] | None:
    """Returns which logit is each class's; None: they are in the dataset's order.

    Args:
        name, classes: the release's; None where it does not say them.
        found: the dataset's classes, in label order.
        images: where they are, for errors.

    Raises:
        DatasetError: the classes are others, which would give every image the wrong label.
    """
    if classes is None or classes == found:
        return None
    where = f"{images}, measured with release {name},"
    labels = labels_by_name(found, classes, where)
    missing = sorted(set(range(len(classes))) - set(labels.values()))
    if missing:
        raise DatasetError(
            f"{where} lacks {len(missing)} of the release's {len(classes)} classes, the "
            f"first is {classes[missing[0]]!r}: give the folder of the release's images"
        )
    return tuple(labels[name] for name in found)


def recipe_for_this_machine(recipe: str, data: str | None, settings: Mapping[str, Any]) -> Recipe:
    """Returns the recipe that a release or a run keeps, for this machine: a plain CPU if need be.

    Raises:
        MixnetError: as `options.adjusted_recipe`.
    """
    chosen = adjusted_recipe(recipe, data=data, settings=settings)
    if not check_device(chosen.devices).ok:
        # Trained on cards, measured on a plain machine.
        chosen = adjusted_recipe(recipe, data=data, settings=PLAIN_CPU | dict(settings))
    return with_stored_rules(chosen)


def read_as(recipe: Recipe, of: str | None, *, given: bool = False) -> str:
    """Says network and transform of the images, and which recipe says so.

    Args:
        of: the release or run whose recipe it is; None: neither.
        given: whether the recipe was named.
    """
    why = "" if given else ", as no release or run around the file says otherwise"
    read = recipe.input
    said = f"{recipe.name}, of {of}" if of else f"{recipe.name}{why}"
    return (
        f"MixNet-{recipe.network.variant.upper()}, {recipe.network.flavour} flavour, "
        f"short side {recipe.short_side} px {read.interpolation}, crop {read.image_size} px "
        f"(recipe {said})"
    )


def _recipe(
    release: AnyRelease, folder: Path, data: str | None, settings: Mapping[str, Any]
) -> Recipe:
    if isinstance(release, PublishedRelease):
        published = fetch_file(release, "recipe", folder / "published-recipe.yaml")
        return recipe_for_this_machine(str(published), data, settings)
    changes: dict[str, Any] = {
        "network.variant": release.variant,
        "network.flavour": release.flavour,
        "network.num_classes": release.num_classes,
        "network.in_channels": release.in_channels,
        "network.stem_stride": release.stem_stride,
        **{f"input.{key}": value for key, value in release.input_keys.items()},
        **({} if release.recipe else PLAIN_CPU),
        **settings,
    }
    name = release.recipe or imagenet_recipe(release.variant)
    if release.recipe is None and release.num_classes != len(wnids()):
        # Trained on other images, of which no recipe says more.
        name, changes = "finetune", {**OF_NO_RELEASE, **changes}
    return adjusted_recipe(name, data=data, settings=changes)
