"""The end of unpacking: checks that all is usable; then the listing, report and imagenet.json."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from mixnet_core.data.imagenet.archives import Archive
from mixnet_core.data.imagenet.listing import Listed, Split, write_facts, write_splits
from mixnet_core.data.imagenet.records import LeftOut, Records
from mixnet_core.data.imagenet.report import write_report
from mixnet_core.data.imagenet.unpacked import UnpackedImageNet, expect_files
from mixnet_core.errors import DatasetError

_NAMED = 5


def expect_usable(
    records: Records,
    opened: Mapping[Split, Archive],
    images: Mapping[str, int] | None,
    most: int,
) -> list[LeftOut]:
    """Lists the images that cannot be used, by name, and makes sure that they are few.

    Args:
        records: of what was unpacked.
        opened: split -> its archive.
        images: how many the archive of a split has to have; None: any number.
        most: how many may be unusable.

    Raises:
        DatasetError: there are more of them, or the archive has another number of images.
    """
    found: list[LeftOut] = []
    for split, archive in opened.items():
        count = 0
        for part in records.parts(split):
            count += len(part.rows) + len(part.left_out)
            found += part.left_out
        if images is not None and count != images[split]:
            raise DatasetError(
                f"{archive.path} has {count:,} images, expected {images[split]:,}: fetch the "
                "archive again, or say --subset"
            )
    found.sort()
    if len(found) > most:
        named = ", ".join(f"{image.name} ({image.reason})" for image in found[:_NAMED])
        more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
        raise DatasetError(
            f"{len(found):,} image{'' if len(found) == 1 else 's'} cannot be used, --max-unusable "
            f"allows {most:,}: {named}{more}; fetch the archives again, or allow them to be left "
            "out"
        )
    return found


def finish(
    root: Path,
    records: Records,
    facts: Mapping[str, Any],
    left_out: list[LeftOut],
    started: float,
) -> UnpackedImageNet:
    """Lists the recorded images, compares the list with the disk, and writes report and facts.

    Args:
        facts: JSON, for imagenet.json and the report.
        left_out: images that cannot be used.
        started: when this attempt began, as time.monotonic().

    Raises:
        IntegrityError: a file is missing, changed or there besides.
        MachineError: something cannot be read or written.
    """
    val = sorted(
        chain.from_iterable(part.rows for part in records.parts("val")), key=_class_and_path
    )
    train = chain.from_iterable(part.rows for part in records.parts("train"))
    own = write_splits(root, {"train": train, "val": val})
    expect_files(root)
    everything = {**facts, **own, "left_out": len(left_out)}
    seconds = round(time.monotonic() - started, 1)
    report = write_report(root, everything, left_out, seconds=seconds)
    write_facts(root, everything)
    records.end()
    return UnpackedImageNet(
        root=str(root.resolve()),
        fingerprint=own["fingerprint"],
        counts=own["counts"],
        left_out=len(left_out),
        report=str(report.resolve()),
    )


def _class_and_path(row: Listed) -> tuple[str, str]:
    return row.wnid, row.path
