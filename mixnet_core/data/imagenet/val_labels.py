"""Labels of a flat val split from a text file.

There is one line per image, all of one of two kinds: a name and a WordNet id, separated by a comma
or white space, in any order of lines; or the id alone, in the order of the sorted names. A label's
number is not taken: the devkit's numbers (1 to 1,000) are in another order than labels (0 to 999),
and nothing in a file of numbers says which ones they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mixnet_core.data.imagenet.classes import label_of
from mixnet_core.errors import DatasetError
from mixnet_core.storage.files import os_errors_explained

_EXPECTED = (
    "expected lines `name wnid` or `name,wnid`, or one wnid per line in the order of the names"
)


def read_val_labels(file: Path, names: Sequence[str]) -> list[int]:
    """Reads a label (0 to 999) for each of `names`.

    Args:
        names: sorted file names of the images.

    Raises:
        DatasetError: no file, other images or another number of them than `names`, an unknown id.
        MachineError: it cannot be read.
    """
    if not file.is_file():
        raise DatasetError(f"no file of val labels at {file}: {_EXPECTED}")
    with os_errors_explained(file, "read"):
        content = file.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is no text ({error}): {_EXPECTED}") from error
    lines = [line.replace(",", " ").split() for line in text.splitlines() if line.strip()]
    kinds = {len(words) for words in lines}
    if kinds not in ({1}, {2}):
        raise DatasetError(f"{file} is no list of labels: {_EXPECTED}")
    if len(lines) != len(names):
        raise DatasetError(
            f"{file} has {len(lines):,} labels, there are {len(names):,} val images: give one for "
            "each"
        )
    if kinds == {1}:
        return [_label(file, number, words[0]) for number, words in enumerate(lines, 1)]
    given = {words[0]: _label(file, number, words[1]) for number, words in enumerate(lines, 1)}
    missing = [name for name in names if name not in given]
    if missing:
        raise DatasetError(
            f"{file} has no label for {len(missing):,} of {len(names):,} val images, the first is "
            f"{missing[0]}: {_EXPECTED}"
        )
    return [given[name] for name in names]


def _label(file: Path, line: int, wnid: str) -> int:
    label = label_of().get(wnid)
    if label is None:
        raise DatasetError(
            f"{file}, line {line}: {wnid!r} is none of ImageNet's 1,000 classes: {_EXPECTED}"
        )
    return label
