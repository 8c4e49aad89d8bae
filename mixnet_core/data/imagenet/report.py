"""The report on ImageNet's archives, for people (report.md) and programs (report.json)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.imagenet.classes import class_names, label_of
from mixnet_core.data.imagenet.listing import SPLITS, Listed, Split, rows_of
from mixnet_core.data.imagenet.records import LeftOut
from mixnet_core.data.overlap import Copy, counted, duplicates
from mixnet_core.runs.markup import in_markdown
from mixnet_core.runs.summaries import overlap_line
from mixnet_core.runs.values import Overlap
from mixnet_core.storage.files import os_errors_explained, write_json, write_text

_NAMED = 100
_IN_MARKDOWN = 10
_QUANTILES = (0, 1, 25, 50, 75, 99, 100)


def write_report(
    root: Path, facts: Mapping[str, Any], left_out: Sequence[LeftOut], *, seconds: float
) -> Path:
    """Writes the report on the images that train.csv and val.csv list.

    Args:
        facts: as they will stand in imagenet.json.
        seconds: that the attempt took which finished.

    Returns:
        The path of report.md.

    Raises:
        MachineError: something cannot be read or written.
    """
    with os_errors_explained(root, "read"):
        splits = {split: _Split(_rows(root, split)) for split in SPLITS}
        found_twice = _duplicates(root)
    report = {
        "fingerprint": facts["fingerprint"],
        "subset": facts["subset"],
        "decoded": facts["decoded"],
        "archives": facts["archives"],
        "seconds": seconds,
        "counts": facts["counts"],
        "bytes": {split: int(found.bytes.sum()) for split, found in splits.items()},
        "classes": {split: dict(found.classes) for split, found in splits.items()},
        "sizes": {split: found.sizes() for split, found in splits.items() if found.classes},
        "notes": _notes(splits),
        "left_out": [image._asdict() for image in left_out],
        "duplicates": found_twice,
    }
    write_json(root / "report.json", report)
    path = root / "report.md"
    write_text(path, _markdown(report))
    return path


class _Split:
    """Collects the figures of one split; it keeps nothing but numbers of a million images."""

    def __init__(self, rows: Iterator[Listed]) -> None:
        self.classes: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.noted: dict[str, list[str]] = {}
        figures: list[NDArray[np.int64]] = []
        chunk: list[Listed] = []

        def take() -> None:
            figures.append(np.array([(r.bytes, r.width, r.height) for r in chunk], np.int64))
            chunk.clear()

        for row in rows:
            self.classes[row.wnid] += 1
            for note in row.notes.split():
                self.notes[note] += 1
                names = self.noted.setdefault(note, [])
                if len(names) < _NAMED:
                    names.append(row.path)
            chunk.append(row)
            if len(chunk) == 10_000:
                take()
        take()
        table = np.concatenate([part.reshape(-1, 3) for part in figures])
        self.bytes, self.width, self.height = table.T

    def sizes(self) -> dict[str, dict[str, int]]:
        """Returns quantiles of an image's bytes, width, height and pixels: figure -> % -> value."""
        figures = {
            "bytes": self.bytes,
            "width": self.width,
            "height": self.height,
            "pixels": self.width * self.height,
        }
        return {
            name: {
                str(q): int(value)
                for q, value in zip(_QUANTILES, np.percentile(values, _QUANTILES), strict=True)
            }
            for name, values in figures.items()
        }


def _rows(root: Path, split: Split) -> Iterator[Listed]:
    return rows_of(root / f"{split}.csv", split)


def _notes(splits: Mapping[Split, _Split]) -> dict[str, dict[str, Any]]:
    """Returns word -> how many images have it, and the first of them."""
    words = sorted({word for found in splits.values() for word in found.notes})
    return {
        word: {
            "images": sum(found.notes[word] for found in splits.values()),
            "first": [p for found in splits.values() for p in found.noted.get(word, [])][:_NAMED],
        }
        for word in words
    }


def _duplicates(root: Path) -> dict[str, Any]:
    """Lists images with the same content: all between train and val, the first within each."""
    groups = duplicates(
        lambda: (
            Copy(row.sha256, split, row.wnid, row.path)
            for split in SPLITS
            for row in _rows(root, split)
        )
    )
    between = [group for group in groups if {image.split for image in group} == set(SPLITS)]
    return {
        "counted": counted(groups, SPLITS).model_dump(mode="json"),
        "train_and_val": [_paths(group) for group in between],
        "train_and_val_images": {
            split: sum(len(_of(split, group)) for group in between) for split in SPLITS
        },
        **{f"within_{split}": _within(groups, split) for split in SPLITS},
    }


def _within(groups: Sequence[Sequence[Copy]], split: Split) -> dict[str, Any]:
    found = [images for group in groups if len(images := _of(split, group)) > 1]
    return {
        "images": sum(len(images) for images in found),
        "contents": len(found),
        "contents_of_several_classes": sum(
            len({image.name for image in images}) > 1 for images in found
        ),
        "first": [_paths(images) for images in found[:_NAMED]],
    }


def _of(split: Split, group: Sequence[Copy]) -> list[Copy]:
    return [image for image in group if image.split == split]


def _paths(images: Sequence[Copy]) -> list[str]:
    return [image.path for image in images]


def _markdown(report: Mapping[str, Any]) -> str:
    lines = ["# ImageNet, unpacked", ""]
    lines += [f"Fingerprint `{report['fingerprint']}`, {report['seconds']:,.0f} s.", ""]
    if report["subset"]:
        lines += ["A part of ImageNet: neither counts nor classes were demanded.", ""]
    if not report["decoded"]:
        lines += ["The images were not decoded; only their headers were read.", ""]
    lines += ["| archive | bytes | md5 |", "|---|---|---|"]
    for archive in report["archives"].values():
        lines.append(
            f"| {in_markdown(archive['name'])} | {archive['bytes']:,} | {archive['md5']} |"
        )
    lines += ["", "| split | images | classes | bytes |", "|---|---|---|---|"]
    for split, count in report["counts"].items():
        classes = len(report["classes"][split])
        lines.append(f"| {split} | {count:,} | {classes:,} | {report['bytes'][split]:,} |")
    lines += ["", *_size_lines(report), "", *_class_lines(report)]
    lines += ["", "## Out of the ordinary", ""]
    lines += _note_lines(report) or ["Nothing."]
    lines += ["", "## Left out", ""]
    lines += [
        f"- {in_markdown(image['name'])}: {in_markdown(image['reason'])}"
        for image in report["left_out"]
    ] or ["Nothing."]
    lines += ["", "## The same content twice", "", *_duplicate_lines(report["duplicates"])]
    return "\n".join(lines) + "\n"


def _size_lines(report: Mapping[str, Any]) -> list[str]:
    marks = " | ".join(f"{q} %" for q in _QUANTILES)
    lines = [f"| an image's | {marks} |", "|---" * (len(_QUANTILES) + 1) + "|"]
    for split, sizes in report["sizes"].items():
        for name, quantiles in sizes.items():
            cells = " | ".join(f"{value:,}" for value in quantiles.values())
            lines.append(f"| {name}, {split} | {cells} |")
    return lines


def _class_lines(report: Mapping[str, Any]) -> list[str]:
    lines = []
    for split, classes in report["classes"].items():
        if not classes:
            continue
        few, many = min(classes, key=classes.__getitem__), max(classes, key=classes.__getitem__)
        lines.append(
            f"Images per class of {split}: {classes[few]:,} ({few}, {_name(few)}) to "
            f"{classes[many]:,} ({many}, {_name(many)})."
        )
    return lines


def _name(wnid: str) -> str:
    return class_names()[label_of()[wnid]].partition(",")[0]


def _note_lines(report: Mapping[str, Any]) -> list[str]:
    return [
        f"- {word}: {_images(found['images'])}, {_some(found['first'], found['images'])}"
        for word, found in report["notes"].items()
    ]


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _duplicate_lines(found: Mapping[str, Any]) -> list[str]:
    between = found["train_and_val"]
    images = found["train_and_val_images"]
    lines = [
        f"In short: {overlap_line(Overlap.model_validate(found['counted']))}.",
        "",
        f"- between train and val: {len(between):,} contents, of {images['train']:,} images of "
        f"train and {images['val']:,} of val",
    ]
    lines += [f"  - {in_markdown(', '.join(paths))}" for paths in between]
    for split in SPLITS:
        within = found[f"within_{split}"]
        several = within["contents_of_several_classes"]
        lines.append(
            f"- within {split}: {within['contents']:,} contents of {within['images']:,} images, "
            f"{several:,} of them in several classes"
        )
        lines += [
            f"  - {in_markdown(', '.join(paths))}" for paths in within["first"][:_IN_MARKDOWN]
        ]
    return lines


def _some(paths: Sequence[str], count: int) -> str:
    named = paths[:_IN_MARKDOWN]
    return in_markdown(", ".join(named)) + (", ..." if count > len(named) else "")
