"""Looking at a recipe's images within seconds, through the code that prepares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mixnet_core.data.prepare import Fits
from mixnet_core.data.source import source_of
from mixnet_core.data.splits import cut
from mixnet_core.data.stored import outline
from mixnet_core.recipe.sections import Data
from mixnet_core.storage.files import fingerprint as fingerprint_of


@dataclass(frozen=True)
class Found:
    """Says what images there are.

    Attributes:
        line: classes and images of each split.
        more: the account of the files, by names; what was taken for which split.
        classes: names in label order; None where listing them takes too long.
        digest: hex sha256 over what the source knows its images by, as names, sizes and times; None
            where nothing says it without reading or fetching them.
    """

    line: str
    more: Sequence[str] = ()
    classes: tuple[str, ...] | None = None
    digest: str | None = None


def found_images(data: Data, datasets: Path, fits: Fits | None = None) -> Found:
    """Lists the source and cuts its splits as preparing does; no image is decoded.

    Args:
        datasets: the workspace's folder, where a download is kept.
        fits: as of `prepare_dataset`.

    Raises:
        MixnetError: as `data.prepare.prepare_dataset`, for whatever shows without decoding images.
    """
    where = source_of(data).described(data)
    with outline(data) as (there, fetched):
        if there is None:
            return Found(f"{where}: {fetched}")
        found = _found(there, where, datasets, fits)
    # Of a store it comes first: how long it takes is decided by it.
    return replace(found, more=[fetched, *found.more]) if fetched else found


def _found(data: Data, where: str, datasets: Path, fits: Fits | None) -> Found:
    source = source_of(data)
    stated = source.stated(data)
    if stated is not None:
        if fits is not None:
            fits(len(stated.classes), stated.counts.get("train", 0))
        counts = ", ".join(f"{count:,} {split}" for split, count in stated.counts.items())
        line = f"{where}: prepared, {len(stated.classes):,} classes, {counts} images"
        return Found(line, classes=stated.classes)
    opened = source.quick(data, datasets)
    if opened is None:
        return Found(source.look(data, datasets).replace(source.described(data), where))
    parts = cut(opened, data)
    if fits is not None:
        fits(len(opened.classes), len(parts[0].positions))
    counts = ", ".join(f"{len(part.positions):,} {part.split}" for part in parts)
    line = f"{where}: {len(opened.classes):,} classes, {counts} images"
    account = opened.account
    more = account.lines if account.left else account.notes
    known_by = {"identity": opened.identity, "classes": opened.classes}
    return Found(line, more, opened.classes, fingerprint_of(known_by))
