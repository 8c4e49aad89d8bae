"""Checks before the work: what would end a run minutes or hours later is said within seconds.

Nothing here imports MindSpore. The only traces are the workspace's folder and a small object that
is written to the publish target and deleted again.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from mixnet_core import errors
from mixnet_core.data.batches import steps_per_epoch
from mixnet_core.data.index import read_manifest
from mixnet_core.data.looking import found_images
from mixnet_core.data.prepare import Fits, expect_class_count
from mixnet_core.data.source import source_of
from mixnet_core.errors import InputError, IntegrityError, MixnetError
from mixnet_core.exports.making import require_formats
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.recipe.sections import Data
from mixnet_core.release.catalog import find_release
from mixnet_core.release.initial import find_initial
from mixnet_core.release.recipe_fit import expect_weights_fit
from mixnet_core.release.signing import expect_keys, signing_key, verifying_key
from mixnet_core.release.weights import check_available
from mixnet_core.runs.records import recorded
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.values import Decision, FetchedWeights, PreparedDataset
from mixnet_core.stages.check_machine import (
    check_device,
    check_disk,
    check_engine,
    check_extras,
    check_msrun,
    check_operators,
    check_packages,
    check_virtual_ranks,
    check_workspace,
)
from mixnet_core.stages.check_result import CheckResult, failed, from_error
from mixnet_core.stages.context import Context
from mixnet_core.stages.fetch import fetched_before
from mixnet_core.stages.release_to_measure import expect_measurable
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.uris import shown


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
            decided=_decided_before(context),
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
    decided: bool = False,
    single_writer: bool = False,
) -> list[CheckResult]:
    """Runs every check; what they find is returned, not raised.

    The first failure is the one to mend first.

    Args:
        registry: URI, as `storage.open_storage` takes it.
        prepared: the dataset that is looked at instead of its source; None: there is none yet.
        fetched: the initial weights that the run has, so that nobody is asked for them.
        decided: whether the run was compared already with the release that it is to replace, which
            may be gone by now.
        single_writer: whether nobody else publishes to the registry.
    """
    data, classes = (
        (check_prepared(prepared), prepared.classes)
        if prepared
        else _looked_at(recipe.data, workspace.datasets, partial(_expect_fit, recipe))
    )
    replaces = recipe.acceptance.replaces is not None and not decided
    return [
        check_workspace(workspace),
        check_disk(recipe, workspace),
        check_packages(),
        check_extras(recipe, registry),
        check_device(recipe.devices, ranks=recipe.devices.ranks),
        check_operators(recipe.devices),
        check_engine(recipe.devices),
        check_msrun(recipe.devices),
        *([check_virtual_ranks(recipe)] if recipe.training.virtual_ranks else []),
        check_weights(recipe, workspace.weights, registry, fetched),
        data,
        *([check_exports(recipe)] if recipe.export.formats else []),
        *([check_replaces(recipe, workspace.weights, registry, classes)] if replaces else []),
        check_publish(registry, single_writer=single_writer),
        *([check_run_store(recipe.devices.run_store)] if recipe.devices.run_store else []),
        *check_keys(),
    ]


def require(results: Iterable[CheckResult]) -> None:
    """Raises the first failure as the typed error that the work itself would have ended with."""
    for result in results:
        if not result.ok:
            message = f"{result.detail}; {result.fix}" if result.fix else result.detail
            raise getattr(errors, result.error)(message)


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
        return from_error("weights", error)
    place = f"{shown(name)} is on this machine" if file else f"{shown(name)} can be fetched"
    return CheckResult(
        name="weights", ok=True, detail=f"{place}; {left_out}" if left_out else place
    )


def check_exports(recipe: Recipe) -> CheckResult:
    """Checks that the network has the forms that it is to be exported in, and the tools for it."""
    formats = recipe.export.formats
    try:
        require_formats("the recipe", recipe.network, formats)
    except MixnetError as error:
        return from_error("exports", error)
    return CheckResult(name="exports", ok=True, detail=f"{', '.join(formats)} are possible")


def check_data(data: Data, datasets: Path, fits: Fits | None = None) -> CheckResult:
    """Lists the source and cuts its splits, as `prepare` does; its images are not decoded.

    Args:
        fits: as of `data.prepare.prepare_dataset`.
    """
    return _looked_at(data, datasets, fits)[0]


def _looked_at(
    data: Data, datasets: Path, fits: Fits | None
) -> tuple[CheckResult, tuple[str, ...] | None]:
    """Returns what `check_data` finds, and the classes where they are known."""
    try:
        found = found_images(data, datasets, fits)
    except MixnetError as error:
        return from_error("data", error), None
    result = CheckResult(name="data", ok=True, detail=found.line, more=tuple(found.more))
    return result, found.classes


def check_replaces(
    recipe: Recipe, cache: Path, registry: str, classes: tuple[str, ...] | None = None
) -> CheckResult:
    """Checks that the release which acceptance compares with can be measured on these images.

    Args:
        cache: of fetched weights.
        registry: as `release.catalog.find_release`.
        classes: of the images, in label order; None where they are not known yet.
    """
    name = recipe.acceptance.replaces
    assert name is not None, "it is a row of recipes that demand it"
    images = source_of(recipe.data).described(recipe.data)
    try:
        release = find_release(name, registry)
        theirs = expect_measurable(release, cache=cache, classes=classes, images=images)
    except MixnetError as error:
        return from_error("replaces", error)
    if theirs is None:
        more = ", but names no classes: labels are taken by position"
    else:
        more = "" if classes else "; whether it has the images' classes shows in accept"
    return CheckResult(name="replaces", ok=True, detail=f"{shown(name)} can be measured{more}")


def _decided_before(context: Context) -> bool:
    """Tells whether the run's decision on record is by the recipe's demands."""
    try:
        decision = recorded(context.run, "accept", Decision)
    except (InputError, IntegrityError):
        return False
    return decision.demands == context.recipe.acceptance.model_dump(mode="json")


def check_prepared(dataset: PreparedDataset) -> CheckResult:
    """Checks that the prepared dataset is the one on record; its sources may be gone."""
    try:
        stated = read_manifest(Path(dataset.root)).get("fingerprint")
    except MixnetError as error:
        return from_error("data", error)
    if stated != dataset.fingerprint:
        return failed(
            "data",
            f"{dataset.root} is not the dataset that this run was prepared with",
            "run `mixnet prepare` again",
            IntegrityError,
        )
    return CheckResult(name="data", ok=True, detail=f"prepared in {dataset.root}")


def check_keys() -> list[CheckResult]:
    """Checks that the keys that the environment names can be used; nothing where it names none."""
    try:
        said = expect_keys(signing_key(), verifying_key())
    except MixnetError as error:
        return [from_error("keys", error)]
    return [CheckResult(name="keys", ok=True, detail=said)] if said else []


def check_publish(uri: str, *, single_writer: bool = False) -> CheckResult:
    """Does with small objects in the registry what publishing does, and deletes them again.

    Args:
        single_writer: as `check_all`.
    """
    try:
        lacks = open_storage(uri, single_writer=single_writer).check_writable()
    except MixnetError as error:
        return from_error("publish", error)
    detail = "; ".join((f"{shown(uri)} is writable", *lacks))
    return CheckResult(name="publish", ok=True, detail=detail)


def check_run_store(uri: str) -> CheckResult:
    """Does with small objects what keeping checkpoints does, and deletes them again."""
    try:
        lacks = open_storage(uri).check_writable()
    except MixnetError as error:
        return from_error("run store", error)
    return CheckResult(
        name="run store", ok=True, detail="; ".join((f"{shown(uri)} is writable", *lacks))
    )


def _expect_fit(recipe: Recipe, classes: int, images: int) -> None:
    """Makes sure that so many classes and training images are for a recipe.

    Raises:
        DatasetError: the recipe is for another number of classes.
        RecipeError: there are fewer images than in a global batch.
    """
    expect_class_count(classes, recipe.network.num_classes)
    steps_per_epoch(images, recipe)
