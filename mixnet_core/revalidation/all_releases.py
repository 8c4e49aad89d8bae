"""Every release once: which there are, and measuring them one by one; one never stops another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mixnet_core.errors import InputError, IntegrityError, JobFailed, MixnetError, ReleaseMissing
from mixnet_core.release.catalog import CatalogEntry, load_catalog
from mixnet_core.release.registry import read_in, read_release, release_names
from mixnet_core.release.retirements import deleted_releases, noted_names, retirement_of
from mixnet_core.revalidation.history import add_to_history, read_history, vanished
from mixnet_core.revalidation.release import Fetched, fetch_again, measure_again, now
from mixnet_core.revalidation.statements import add_statements
from mixnet_core.revalidation.states import Revalidation, unmeasured
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.ticks import Watch, unwatched
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.storage import Storage
from mixnet_core.storage.uris import shown

_IMAGENET_CLASSES = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """Describes a release to measure.

    Attributes:
        name: of the release.
        uri: where it lies, as it may be said.
        entry: of the catalog; None where it is published at `uri`.
        data: folder of images instead of its recipe's.
        gone: an earlier revalidation knew it, and it is not there any more.
    """

    name: str
    uri: str
    entry: CatalogEntry | None = None
    data: str | None = None
    gone: bool = False


def items(
    registry: str,
    history: Sequence[Revalidation],
    *,
    data: str | None = None,
    imagenet: str | None = None,
    retired: Collection[str] = (),
    may_be_none: bool = False,
) -> list[Item]:
    """Lists what there is to measure, published releases first.

    Those that are retired, as the registry says (`release.retirements`), are passed over, and said
    in one line; those that were deleted with `mixnet release delete` are not missed.

    Args:
        registry: URI of where the published ones are.
        history: earlier results; a release in it that is not there any more is listed too.
        data: folder of images instead of each published release's own.
        imagenet: folder of ImageNet, for the catalog's releases of its 1,000 classes; of the others
            only those are measured whose entry names a recipe.
        retired: releases that were deleted on purpose.
        may_be_none: whether a place is well where nothing was published yet: a schedule that looks
            at the default one begins before there is a release.

    Raises:
        InputError: there is nothing, or a folder of images is not there.
        MixnetError: as `storage.Storage` and `catalog.load_catalog`.
    """
    for folder in (data, imagenet):
        # Else every release would be fetched before each is called not measured.
        if folder is not None and not Path(folder).expanduser().is_dir():
            raise InputError(f"no folder of images at {shown(folder)}: check the path")
    names = release_names(registry)
    for name in sorted({*retired} - {result.release for result in history}):
        log.warning("%s, said to be retired, was never measured here: check its name", shown(name))
    storage = open_storage(registry)
    out_of_use = [
        name for name in noted_names(storage) if name in names and _retired(storage, name)
    ]
    if out_of_use:
        log.warning("not measured, as they are retired: %s", ", ".join(out_of_use))
    in_use = [name for name in names if name not in out_of_use]
    published = [Item(name, f"{registry}/{name}", data=data) for name in in_use]
    deleted = {name: record.weights_sha256 for name, record in deleted_releases(storage).items()}
    gone = [
        Item(result.release, result.uri, gone=True)
        for result in vanished(history, [*names, *retired], registry, deleted)
    ]
    catalog = [
        Item(entry.name, entry.shown_uri, entry, data=None if entry.recipe else imagenet)
        for entry in load_catalog().values()
        if entry.recipe or (imagenet and entry.num_classes == _IMAGENET_CLASSES)
    ]
    found = [*published, *gone, *catalog]
    if not found and out_of_use:
        raise InputError(
            f"all {len(out_of_use)} releases at {shown(registry)} are retired: publish another, or "
            "take one back with `mixnet release retire NAME --remove --why TEXT`"
        )
    if not found and not may_be_none:
        # A watch over nothing, as after a slip in the URI, must not look like one that is content.
        raise InputError(
            f"nothing is published at {shown(registry)}: check where releases are, or publish one; "
            "with a folder of ImageNet the catalog's are measured"
        )
    return found


def _retired(storage: Storage, name: str) -> bool:
    try:
        release = read_in(storage, name)
    except (InputError, IntegrityError):
        # Measuring it says why.
        return False
    return retirement_of(storage, release) is not None


def fetch_item(item: Item, workspace: Workspace, *, watch: Watch = unwatched) -> Fetched:
    """Fetches one release's files.

    Raises:
        ReleaseMissing: it, or a file of it, is not there any more.
        MixnetError: as `release.fetch_again`.
    """
    if item.gone:
        raise ReleaseMissing(
            f"no release at {shown(item.uri)}, which an earlier revalidation measured: publish "
            f"it again, or say that it was deleted on purpose (--retired {item.name})"
        )
    try:
        release = item.entry or read_release(item.uri)
    except InputError as error:
        raise ReleaseMissing(str(error)) from error
    return fetch_again(release, workspace, data=item.data, watch=watch)


def revalidate_all(
    registry: str,
    *,
    workspace: Workspace,
    each: Callable[[Revalidation], None],
    data: str | None = None,
    imagenet: str | None = None,
    retired: Collection[str] = (),
    tolerance: float = 0.001,
    watch: Watch = unwatched,
) -> list[Revalidation]:
    """Measures all `items` by `one_by_one`, in this process.

    Args:
        registry, data, imagenet, retired: as `items`.
        each: told of every result as soon as it is there.
        tolerance: as `release.measure_again`.

    Returns:
        The results in the order of `items`.

    Raises:
        InputError: there is nothing to measure.
        MixnetError: the releases cannot be listed, or the history cannot be read or written.
    """
    history = read_history(registry)

    def measure(item: Item) -> Revalidation:
        fetched = fetch_item(item, workspace, watch=watch)
        return measure_again(fetched, workspace, history=history, tolerance=tolerance, watch=watch)

    found = items(registry, history, data=data, imagenet=imagenet, retired=retired)
    return one_by_one(found, registry, measure, each)


def one_by_one(
    found: Sequence[Item],
    registry: str,
    measure: Callable[[Item], Revalidation],
    each: Callable[[Revalidation], None],
) -> list[Revalidation]:
    """Measures each item, tells `each`, and adds the results to the history.

    What was measured before it is stopped or interrupted is added too.

    Raises:
        MixnetError: the history cannot be written; what `measure` raises is a result.
    """
    results: list[Revalidation] = []
    try:
        for item in found:
            try:
                result = measure(item)
            except MixnetError as error:
                result = unmeasured(item.name, item.uri, now(), error)
            except Exception as error:
                # A fault of this program; the other releases are measured all the same.
                log.exception("%s could not be measured", item.name)
                said = " ".join(f"{type(error).__name__}: {error}".split())
                unforeseen = JobFailed(f"unforeseen, {said}", retryable=False)
                result = unmeasured(item.name, item.uri, now(), unforeseen)
            results.append(result)
            each(result)
    finally:
        # Also of an interrupted one: hours of measuring are not lost.
        add_to_history(registry, results)
        add_statements(registry, results)
    return results
