"""What the values of lists mean: which classes there are, and the label of every value.

Where lists have numbers and names, these go together one to one over all rows of all lists: then
the names are the classes, and the numbers tell their order. Classes in label order are the lines of
classes.txt; else the names as their numbers have it; else the sorted names, or the numbers up to
the greatest.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mixnet_core.data.class_names import expect_distinct, labels_by_name
from mixnet_core.data.lists.text import plain, quoted
from mixnet_core.data.lists.values import NUMBER, Values, names_of_numbers
from mixnet_core.data.pictures import UNUSABLE
from mixnet_core.errors import DatasetError

_NAMED = 3
# A label beyond is rather a mistake, and would make as many classes.
_MOST_CLASSES = 1_000_000


@dataclass(frozen=True, eq=False)
class Meaning:
    """Says which classes there are and what the lists' values mean.

    Attributes:
        classes: in label order.
        of_name, of_number: a list's name or number -> label.
    """

    classes: tuple[str, ...]
    of_name: dict[str, int]
    of_number: dict[str, int]

    def labels(self, values: Values) -> list[int]:
        """Returns the label of each row."""
        if values.names is not None:
            return [self.of_name[name] for name in values.names]
        return [self.of_number[number] for number in values.numbers or ()]


def meaning_of(lists: Sequence[Values], given: tuple[str, ...] | None, where: str) -> Meaning:
    """Decides which classes lists have.

    Args:
        given: the lines of classes.txt.
        where: what a message calls the lists.

    Raises:
        DatasetError: names and numbers contradict each other or classes.txt, names look alike or
            cannot be a folder's, a value is none of the classes, or there are too many.
    """
    name_of = names_of_numbers(lists)
    names = _distinct_names(lists, where)
    numbers = {n for values in lists if values.names is None for n in values.numbers or ()}
    if given is not None:
        classes = given
        for number, name in name_of.items():
            _expect_in_place(lists, number, name, given)
    elif name_of:
        classes = tuple(name_of[number] for number in sorted(name_of, key=int))
    elif names:
        if numbers:
            raise DatasetError(
                f"{where} has names in one list and numbers in the other: give both the same "
                "columns"
            )
        classes = tuple(sorted(names))
    else:
        classes = _numbered(numbers, where)
    _expect_usable(classes, where)
    of_name = _labels_of_names(names, classes)
    if name_of and given is None:
        of_number = {number: of_name[name] for number, name in name_of.items()}
    else:
        of_number = {n: int(n) for n in numbers if int(n) < len(classes)}
    for values in lists:
        _expect_known(values, of_name if values.names is not None else of_number, classes)
    return Meaning(classes, of_name, of_number)


def meaning_for(
    lists: Sequence[Values],
    given: tuple[str, ...] | None,
    classes: tuple[str, ...],
    where: str,
) -> Meaning:
    """Finds the values of a list among classes that are known already, by their names.

    Args:
        lists: the list, and others that may tell what its numbers mean.
        given: the lines of classes.txt.
        classes: in label order.
        where: what a message calls the list.

    Raises:
        DatasetError: as `meaning_of`; a name is none of the classes.
    """
    values = lists[0]
    if values.names is not None:
        if given is not None:
            meaning_of(lists, given, where)
        else:
            names_of_numbers(lists)
        names = _distinct_names(lists[:1], where)
        _expect_usable(names, where)
        return Meaning(classes, labels_by_name(names, classes, where), {})
    numbers = list(dict.fromkeys(values.numbers or ()))
    name_of = names_of_numbers(lists)
    if given is not None or name_of:
        known = meaning_of(lists, given, where)
        name_of = {number: known.classes[label] for number, label in known.of_number.items()}
    elif all(map(NUMBER.fullmatch, classes)):
        # Their names are padded with zeros as far as the greatest one needs it.
        name_of = {str(int(name)): name for name in classes}
    named = {number: name_of.get(number, number) for number in numbers}
    label_of = labels_by_name(list(named.values()), classes, where)
    return Meaning(classes, {}, {number: label_of[name] for number, name in named.items()})


def _distinct_names(lists: Sequence[Values], where: str) -> list[str]:
    spellings = dict.fromkeys(s for values in lists for s in values.spellings)
    expect_distinct(spellings, where)
    names = list(dict.fromkeys(map(str.strip, spellings)))
    by_number: dict[int, str] = {}
    if all(name.isascii() and name.isdecimal() for name in names):
        for name in names:
            if (other := by_number.setdefault(int(name), name)) != name:
                raise DatasetError(
                    f"{where}: classes {quoted(other)} and {quoted(name)} are one number: write "
                    "one of them, or rename a class"
                )
    return names


def _expect_in_place(
    lists: Sequence[Values], number: str, name: str, given: tuple[str, ...]
) -> None:
    position = int(number)
    line = given[position] if position < len(given) else None
    if line is None or _letters(line) != _letters(name):
        for values in lists:
            pairs = list(zip(values.numbers or (), values.names or (), strict=False))
            if (number, name) in pairs:
                raise DatasetError(
                    f"{values.found.line(pairs.index((number, name)))}: label {number} goes with "
                    f"class {quoted(name)}, but classes.txt has "
                    + (f"{quoted(line)} there" if line is not None else f"only {len(given)} lines")
                    + " (its first line is label 0): correct one of them"
                )


def _numbered(numbers: set[str], where: str) -> tuple[str, ...]:
    greatest = max(map(int, numbers), default=0)
    if greatest >= _MOST_CLASSES:
        raise DatasetError(
            f"{where} has label {greatest}, expected at most {_MOST_CLASSES - 1:,}: a label is a "
            "class's position, counted from 0"
        )
    width = len(str(greatest))
    return tuple(f"{label:0{width}d}" for label in range(greatest + 1))


def _expect_usable(classes: Sequence[str], where: str) -> None:
    for name in classes:
        # It becomes a folder in the prepared dataset.
        if name in (".", "..") or "/" in name or UNUSABLE.search(name) or len(name.encode()) > 255:
            raise DatasetError(
                f"{where}: class {quoted(name)}, which cannot be a folder's name: use another, or "
                "labels"
            )


def _labels_of_names(names: Sequence[str], classes: tuple[str, ...]) -> dict[str, int]:
    label_of = {_letters(name): label for label, name in enumerate(classes)}
    return {name: label_of[_letters(name)] for name in names if _letters(name) in label_of}


def _letters(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _expect_known(values: Values, label_of: Mapping[str, int], classes: tuple[str, ...]) -> None:
    deciding = values.names if values.names is not None else values.numbers or []
    unknown = next((value for value in dict.fromkeys(deciding) if value not in label_of), None)
    if unknown is None:
        return
    row = deciding.index(unknown)
    known = classes if values.names is not None else tuple(map(str, range(len(classes))))
    some = " ".join(map(plain, known[:_NAMED])) + (" ..." if len(known) > _NAMED else "")
    hint = "; positions in classes.txt go into a column label" if unknown.isdecimal() else ""
    raise DatasetError(
        f"{values.found.line(row)}: gives {plain(values.found.paths[row])} {quoted(unknown)}: "
        f"expected one of {len(known)}, {some}{hint if values.names is not None else ''}"
    )
