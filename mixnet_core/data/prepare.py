"""Preparing: images, checked, split and indexed in one folder that appears all at once."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mixnet_core.data.class_names import labels_by_name
from mixnet_core.data.download import Fetch, download
from mixnet_core.data.index import (
    FORMAT,
    SPLITS,
    counts_by_class,
    dataset_fingerprint,
    duplicates_in,
    open_prepared,
    read_manifest,
    read_rows,
    write_classes,
    write_index,
)
from mixnet_core.data.overlap import counted, write_listing
from mixnet_core.data.rows import OnImage, all_rows
from mixnet_core.data.shards import SHARD_BYTES
from mixnet_core.data.source import Source, source_of
from mixnet_core.data.splits import Part, cut, whole_val
from mixnet_core.data.stored import ignored, local
from mixnet_core.errors import DatasetError, IntegrityError, MachineError
from mixnet_core.processes.requests import PackedDataset, PackRequest
from mixnet_core.recipe.sections import Data
from mixnet_core.runs.values import DUPLICATES_FILE, PreparedDataset
from mixnet_core.storage.asides import remove_left_asides
from mixnet_core.storage.files import fingerprint as fingerprint_of
from mixnet_core.storage.files import folder_aside, write_json
from mixnet_core.storage.mirror.mirror import OnFetched

Pack = Callable[[PackRequest], PackedDataset]
"""Writes MindRecord shards; it needs MindSpore, so in a process of its own."""
Fits = Callable[[int, int], None]
"""(classes, training images) -> nothing, or an error that says why they are not for a recipe."""

_log = logging.getLogger(__name__)


class _PreparedMeanwhile(Exception):
    """Says that another process finished the same dataset first."""


def prepare_dataset(
    data: Data,
    datasets: Path,
    on_image: OnImage | None = None,
    fetch: Fetch = download,
    pack: Pack | None = None,
    fits: Fits | None = None,
    on_fetched: OnFetched = ignored,
) -> PreparedDataset:
    """Checks, splits and indexes the recipe's images in `<datasets>/<source>-<key>/`.

    The key stands for the source's images and the settings that decide the splits: a second call
    with the same ones only checks that everything is there, a damaged folder is made anew. While it
    works nothing but `.aside-*` exists. `data.index` tells the layouts, `data.splits` which image
    goes into which split. In place, nothing but the indexes is written.

    Args:
        data: the recipe's section.
        datasets: the workspace's folder of datasets; made if missing.
        on_image: called with (done, total) in this thread after every image.
        fetch: brings a file of a source that has to be downloaded.
        pack: writes the shards of layout mindrecord, which needs it.
        fits: raises where so many classes and training images are not for the recipe, before an
            image is read.
        on_fetched: told of progress where the images are in a store (`data.stored`), which are
            fetched first.

    Raises:
        DatasetError: the source is missing or malformed, images do not decode, a class has too few
            images for its splits, the layout is not for this source.
        MachineError: a package is missing, something cannot be read or written, the disk is full.
        DigestMismatch, TransientError: a download failed.
    """
    kind = source_of(data)
    with local(data, on_fetched) as here:
        if (ready := kind.ready(here)) is not None:
            if "train" not in ready.counts:
                raise DatasetError(
                    f"{kind.described(data)} has images to measure only: name a dataset that was "
                    "prepared for training"
                )
            if fits is not None:
                fits(len(ready.classes), ready.counts["train"])
            return ready
        if data.layout == "mindrecord" and pack is None:
            raise DatasetError(
                "data.layout mindrecord is for `mixnet prepare` and flows: use those"
            )
        source = kind.open(here, datasets, fetch)
        settings = _settings(here, source)

        def cut_parts() -> Sequence[Part]:
            parts = cut(source, here)
            if fits is not None:
                fits(len(source.classes), len(parts[0].positions))
            return parts

        return _prepared(here, datasets, source, settings, cut_parts, on_image, pack)


def prepare_val(
    data: Data,
    datasets: Path,
    *,
    classes: tuple[str, ...] | None = None,
    trained_on: bool = False,
    fingerprint: str | None = None,
    on_image: OnImage | None = None,
    fetch: Fetch = download,
    on_fetched: OnFetched = ignored,
) -> PreparedDataset:
    """Checks and indexes the images to measure, where they are; no training image is read.

    Args:
        data: the section of the recipe that says how the folder is read.
        classes: names that the weights were trained for, in label order: labels are found by name.
            None: the dataset's own.
        trained_on: whether these are the images that the weights were trained on. A val split that
            was cut from the training images is then cut again, which reads them.
        fingerprint: of the val images that were measured then; a val split that is cut again has to
            be that one, for images of another one may have been trained on.

    Raises:
        DatasetError: there are training images only, or others than those times', or an image is
            of another class, or as `prepare_dataset`.
        MixnetError: as `prepare_dataset`.
    """
    kind = source_of(data)
    with local(data, on_fetched) as here:
        stated = kind.stated(here)
        if stated is not None and (stated.own_val or trained_on):
            ready = kind.ready(here)
            assert ready is not None
            _expect_same_classes(ready, classes, kind.described(data))
            return ready
        source = kind.open_val(here, classes)
        if source is not None:
            here = here.model_copy(update={"layout": "in_place"})
            parts = partial(_val_alone, source)
            settings: dict[str, Any] = {"splits": ["val"]}
            if (place := source.places.get("val")) != "val/":
                # The same images may be named by their folder, or by the one above.
                settings["place"] = place
            return _prepared(here, datasets, source, settings, parts, on_image)
    if kind.needs_path and not trained_on:
        raise DatasetError(
            f"{kind.described(data)} has no val split, only training images: name the folder of "
            "the images to measure, or put them into val/"
        )
    dataset = prepare_dataset(data, datasets, on_image, fetch, on_fetched=on_fetched)
    _expect_same_classes(dataset, classes, kind.described(data))
    if kind.needs_path and dataset.val_fingerprint != fingerprint:
        raise DatasetError(
            f"{kind.described(data)} has no val split, and what is cut from its training images "
            "now is not what was measured then, so that training may have seen it: put the images "
            "back, or name a folder of others"
        )
    return dataset


def _expect_same_classes(
    dataset: PreparedDataset, classes: tuple[str, ...] | None, where: str
) -> None:
    if classes in (None, dataset.classes):
        return
    # Refuses other names, and says which.
    labels_by_name(dataset.classes, classes or (), where)
    raise DatasetError(
        f"{where} has the classes {', '.join(dataset.classes[:3])}, ... in another order or fewer "
        "than these weights were trained for: put the images into folders named by their classes"
    )


def _prepared(
    data: Data,
    datasets: Path,
    source: Source,
    settings: Mapping[str, Any],
    cut_parts: Callable[[], Sequence[Part]],
    on_image: OnImage | None,
    pack: Pack | None = None,
) -> PreparedDataset:
    """Makes the dataset of a source, or finds it ready.

    Args:
        settings: what decides the splits.
        cut_parts: returns the splits.
    """
    # Also where the dataset is there already: another process may have made it since.
    remove_left_asides(datasets)
    key = fingerprint_of(
        {
            "format": FORMAT,
            "source": data.source,
            "identity": source.identity,
            "classes": source.classes,
            "settings": settings,
        }
    )
    root = datasets / f"{data.source}-{key[:8]}"
    ready = _ready(root, key)
    if ready:
        _expect_listing(ready)
        # What is left out may be other files by now: they are no part of the key.
        return ready.model_copy(update={"notes": source.account.in_short})
    parts = cut_parts()
    images = _images_folder(source, data.layout)
    reused = False

    def prepared_meanwhile() -> bool:
        # Replacing it would take the images away from under a training that already reads them.
        nonlocal reused
        reused = _ready(root, key, quiet=True) is not None
        return reused

    try:
        with folder_aside(root, unless=prepared_meanwhile) as aside:
            rows = all_rows(aside, source.classes, parts, images, on_image)
            for split in rows:
                write_index(aside, split, rows[split])
            write_classes(aside, source.classes)
            groups = duplicates_in(source.classes, rows)
            write_listing(aside, groups)
            manifest = {
                "layout": data.layout,
                **_images_facts(aside, data.layout, images, pack),
                "format": FORMAT,
                "key": key,
                "source": data.source,
                "settings": settings,
                "classes": source.classes,
                "splits": [part.split for part in parts],
                "counts": counts_by_class(source.classes, rows),
                "origin": _places(source),
                "duplicates": counted(groups, list(rows)).model_dump(),
                "account": source.account.as_json(),
                "fingerprint": dataset_fingerprint(source.classes, rows),
            }
            write_json(aside / "manifest.json", manifest)
            if prepared_meanwhile():
                raise _PreparedMeanwhile
    except _PreparedMeanwhile:
        return open_prepared(root)
    return open_prepared(root).model_copy(update={"reused": reused})


def expect_classes(dataset: PreparedDataset, num_classes: int | None) -> int:
    """Returns how many classes the network needs: as many as the dataset has.

    Args:
        num_classes: the recipe's; None takes any number.

    Raises:
        DatasetError: the recipe says another number than the dataset has.
    """
    return expect_class_count(len(dataset.classes), num_classes)


def expect_class_count(found: int, num_classes: int | None) -> int:
    """Returns how many classes were found, which have to be the recipe's; see `expect_classes`."""
    if num_classes is not None and num_classes != found:
        raise DatasetError(
            f"the dataset has {found} classes, network.num_classes says {num_classes}: "
            f"set it to {found} or null"
        )
    return found


def _val_alone(source: Source) -> tuple[Part]:
    return (whole_val(source),)


def _places(source: Source) -> dict[str, str]:
    """Says of each split where its images were: "val/", or "cut from train/"."""
    train = source.places.get("train", "the training images")
    val = f"cut from {train}" if source.val is None else "val"
    return {"train": train, "val": val} | dict(source.places)


def _settings(data: Data, source: Source) -> dict[str, Any]:
    """Returns the settings that decide the splits: val_share does not if the source has a val."""
    return {
        "val_share": data.val_share if source.val is None else None,
        "train_limit": data.train_limit,
        "select_share": data.select_share,
        "split_seed": data.split_seed,
        "layout": data.layout,
    }


def _ready(root: Path, key: str, quiet: bool = False) -> PreparedDataset | None:
    if not root.exists():
        return None
    try:
        dataset = open_prepared(root)
        # The folder's name has only the key's beginning.
        return dataset if read_manifest(root)["key"] == key else None
    except (DatasetError, IntegrityError) as error:
        if not quiet:
            _log.warning("preparing anew: %s", error)
        return None


def _expect_listing(dataset: PreparedDataset) -> None:
    """Lists the duplicates of a dataset that an earlier version prepared."""
    root = Path(dataset.root)
    if (root / DUPLICATES_FILE).is_file():
        return
    try:
        rows = {split: read_rows(root, split) for split in dataset.counts}
        write_listing(root, duplicates_in(dataset.classes, rows))
    except MachineError as error:
        # Nothing but the listing is lost: they are counted all the same.
        _log.warning("duplicates are not listed: %s", error)


def _images_folder(source: Source, layout: str) -> Path | None:
    """Returns the folder of images that are read where they are; None: they are written first.

    They are written first for layout mindrecord too where they are no files of their own.
    """
    files = source.train.files
    return None if layout == "links" or files is None else files.root


def _images_facts(
    root: Path, layout: str, images: Path | None, pack: Pack | None
) -> dict[str, Any]:
    """Returns what the manifest says of where the images are; packs them first."""
    if layout == "in_place":
        return {"images": str(images)}
    if layout == "links":
        return {}
    assert pack is not None
    request = PackRequest(folder=str(root), images=str(images or root), shard_bytes=SHARD_BYTES)
    packed = pack(request).model_dump(mode="json")
    for split in SPLITS:
        shutil.rmtree(root / split, ignore_errors=True)
    return packed
