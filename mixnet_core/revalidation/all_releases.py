"""Every release once: which there are, and measuring them one by one; one never stops another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from mixnet_core.errors import InputError, MixnetError, ReleaseMissing
from mixnet_core.release.catalog import CatalogEntry, load_catalog
from mixnet_core.release.publish import read_release, release_names
from mixnet_core.revalidation.history import add_to_history, read_history, vanished
from mixnet_core.revalidation.release import Fetched, fetch_again, measure_again, now
from mixnet_core.revalidation.states import Revalidation, unmeasured
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.ticks import Watch, unwatched
from mixnet_core.storage.uris import shown


@dataclass(frozen=True)
class Item:
    """A release to measure.

    Attributes:
        entry: of the catalog; None: it is published below `uri`.
        data: folder of images instead of its recipe's.
        gone: an earlier revalidation knew it, and it is not there any more.
    """

    name: str
    uri: str
    entry: CatalogEntry | None = None
    data: str | None = None
    gone: bool = False


def items(
    releases: str,
    history: Sequence[Revalidation],
    *,
    data: str | None = None,
    imagenet: str | None = None,
    retired: Collection[str] = (),
) -> list[Item]:
    """What there is to measure, published releases first.

    Args:
        releases: URI of the published ones.
        data: folder of images instead of each published release's own.
        imagenet: folder of ImageNet, for the catalog's releases; without it only those are
            measured whose entry names a recipe.
        retired: releases that were deleted on purpose.

    Raises:
        InputError: there is nothing.
        MixnetError: as `storage.Storage` and `catalog.load_catalog`.
    """
    names = release_names(releases)
    published = [Item(name, f"{releases}/{name}", data=data) for name in names]
    gone = [
        Item(result.release, result.uri, gone=True)
        for result in vanished(history, [*names, *retired], releases)
    ]
    catalog = [
        Item(entry.name, shown(entry.url), entry, data=None if entry.recipe else imagenet)
        for entry in load_catalog().values()
        if entry.recipe or imagenet
    ]
    found = [*published, *gone, *catalog]
    if not found:
        # A watch over nothing, as after a slip in the URI, must not look like one that is content.
        raise InputError(
            f"nothing is published at {shown(releases)}: check where releases are, or publish one; "
            "with a folder of ImageNet the catalog's are measured"
        )
    return found


def fetch_item(item: Item, workspace: Workspace, *, watch: Watch = unwatched) -> Fetched:
    """One release's files.

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
    releases: str,
    *,
    workspace: Workspace,
    each: Callable[[Revalidation], None],
    data: str | None = None,
    imagenet: str | None = None,
    retired: Collection[str] = (),
    tolerance: float = 0.001,
    watch: Watch = unwatched,
) -> list[Revalidation]:
    """All `items` by `one_by_one`, in this process.

    Raises:
        InputError: there is nothing to measure.
        MixnetError: the releases cannot be listed, or the history cannot be read or written.
    """
    history = read_history(releases)

    def measure(item: Item) -> Revalidation:
        fetched = fetch_item(item, workspace, watch=watch)
        return measure_again(fetched, workspace, history=history, tolerance=tolerance, watch=watch)

    found = items(releases, history, data=data, imagenet=imagenet, retired=retired)
    return one_by_one(found, releases, measure, each)


def one_by_one(
    found: Sequence[Item],
    releases: str,
    measure: Callable[[Item], Revalidation],
    each: Callable[[Revalidation], None],
) -> list[Revalidation]:
    """Measures each, tells `each`, and adds the results to the history, also where it is stopped.

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
            results.append(result)
            each(result)
    finally:
        # Also of an interrupted one: hours of measuring are not lost.
        add_to_history(releases, results)
    return results
