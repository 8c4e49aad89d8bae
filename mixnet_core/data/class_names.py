"""Labels by class name: a figure whose labels were taken by position is wrong and looks right."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.lists.text import text_of
from mixnet_core.errors import DatasetError
from mixnet_core.storage.files import os_errors_explained

_NAMED = 5
_ONE_A_LINE = "expected one class per line, in label order"


def labels_by_name(found: Sequence[str], classes: tuple[str, ...], where: str) -> dict[str, int]:
    """Finds each class that images have among those that weights were trained for.

    The same letters in another Unicode form are the same name. ImageNet's classes are also known by
    their numbers, all of 0 to 999 in the order of their WordNet ids, as ImageNetV2 names its
    folders; some numbers alone are rather another dataset's names.

    Args:
        found: names that the images have.
        classes: names in label order.
        where: the images' folder or list, for errors.

    Returns:
        name in `found` -> label.

    Raises:
        DatasetError: a name is none of the classes, or two are the same one.
    """
    if classes == wnids() and (numbers := _numbers(found)):
        return numbers
    exact = {name: label for label, name in enumerate(classes)}
    alike = {_composed(name): label for label, name in enumerate(classes)}
    labels: dict[str, int] = {}
    unknown = []
    for name in found:
        label = exact.get(name, alike.get(_composed(name)))
        if label is None:
            unknown.append(name)
        else:
            labels[name] = label
    if unknown:
        raise DatasetError(
            f"{where} has {len(unknown)} of {len(found)} classes that these weights were not "
            f"trained for ({_some(unknown)}): expected names among {_some(classes)}"
            f"{_hint(unknown[0], classes)}"
        )
    expect_distinct(found, where)
    return labels


def expect_distinct(names: Iterable[str], where: str) -> None:
    """Makes sure that no two class names look alike: "bird" and "bird ", or two Unicode forms.

    Names that differ in case are two: some alphabets' datasets have classes "a" and "A".

    Raises:
        DatasetError: two do.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[" ".join(_composed(name).split())].append(name)
    for group in groups.values():
        if len(group) > 1:
            raise DatasetError(
                f"{where} has classes that look alike, {_escaped(group[0])} and "
                f"{_escaped(group[1])}: give both the same name, or names that differ in a letter"
            )


def read_classes(file: Path) -> tuple[str, ...]:
    """Reads class names, one a line in label order; spaces around them do not count.

    Raises:
        DatasetError: it is no text in UTF-8, has an empty or a repeated line, or names that look
            alike.
        MachineError: it cannot be read.
    """
    with os_errors_explained(file, "read"):
        content = file.read_bytes()
    text = text_of(content, str(file)).replace("\r\n", "\n").replace("\r", "\n")
    lines = text.rstrip("\n").split("\n")
    classes = tuple(line.strip() for line in lines)
    if len(set(lines)) != len(lines) or "" in classes:
        raise DatasetError(f"{file} has an empty or repeated line: {_ONE_A_LINE}")
    expect_distinct(lines, str(file))
    return classes


def ambiguous_order(names: Sequence[str]) -> bool:
    """Tells whether names are numbers that sort otherwise as text: 10 stands before 2."""
    return all(name.isdecimal() for name in names) and list(names) != sorted(names, key=int)


def near(name: str, names: Iterable[str]) -> str | None:
    """Returns the one that somebody may have meant: equal but for case, spaces or Unicode form."""
    folded = _folded(name)
    return next((other for other in names if _folded(other) == folded), None)


def _numbers(found: Sequence[str]) -> dict[str, int] | None:
    if not all(name.isascii() and name.isdecimal() for name in found):
        return None
    labels = {name: int(name) for name in found}
    return labels if sorted(labels.values()) == list(range(len(wnids()))) else None


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return " ".join(_composed(name).casefold().replace("_", " ").replace("-", " ").split())


def _hint(name: str, classes: tuple[str, ...]) -> str:
    meant = near(name, classes)
    rename = "rename them, or give the folder of their images"
    return f"; {_escaped(name)} may be {_escaped(meant)}: {rename}" if meant else f": {rename}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return f"{shown}, ... ({len(names):,})" if len(names) > _NAMED else shown


def _escaped(name: str) -> str:
    """Shows what the eye does not see."""
    plain = name.isascii() or unicodedata.is_normalized("NFC", name)
    return repr(name) if plain else f"{name!r} ({name!a})"
