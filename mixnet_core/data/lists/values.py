"""What the columns of a list say: numbers, names, or both of the same classes.

A column headed as a label has numbers if all its values are whole numbers from 0, names if none
is; one headed as a class has names whatever they look like, unless another column has the names.
Columns that stand side by side must say the same, one to one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mixnet_core.data.lists.rows import Column, ListFile
from mixnet_core.data.lists.text import plain, quoted
from mixnet_core.errors import DatasetError

# pandas writes a column of numbers in which one is missing with ".0".
NUMBER = re.compile(r"[0-9]{1,15}(?:\.0*)?", re.ASCII)
_LIKE_A_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?", re.ASCII)


@dataclass(frozen=True, eq=False)
class Values:
    """Tells what the rows of a list say.

    Attributes:
        found: the list.
        numbers, names: one per row, None where the list has none; numbers have no leading zeros.
        spellings: how the names are written, spaces around included.
    """

    found: ListFile
    numbers: list[str] | None
    names: list[str] | None
    spellings: list[str]


def values_of(found: ListFile) -> Values:
    """Decides which of a labelled list's columns has the names and which the numbers.

    Raises:
        DatasetError: a label is neither a whole number from 0 nor are all of them names; columns
            contradict each other.
    """
    numeric = {column.name: _numbers(found, column) for column in found.columns}
    labels_first = sorted(found.columns, key=lambda column: column.named)
    classes_first = sorted(found.columns, key=lambda column: not column.named)
    texts = [column for column in classes_first if numeric[column.name] is None]
    names = next(iter(texts or (column for column in classes_first if column.named)), None)
    counted = [c for c in labels_first if c is not names and numeric[c.name] is not None]
    first = names or counted[0]
    said = first.values if names else numeric[first.name] or []
    for column in found.columns:
        if column is not first:
            sides = [(found, numeric[column.name] or column.values, said)]
            _expect_one_to_one(sides, column.name, first.name)
    return Values(
        found,
        numeric[counted[0].name] if counted else None,
        names.values if names else None,
        names.spellings if names else [],
    )


def names_of_numbers(lists: Sequence[Values]) -> dict[str, str]:
    """Returns number -> name, of the lists that have both.

    Raises:
        DatasetError: a number stands beside two names, or a name beside two numbers.
    """
    sides = [
        (values.found, values.numbers, values.names)
        for values in lists
        if values.numbers is not None and values.names is not None
    ]
    return _expect_one_to_one(sides, "label", "class")


def _expect_one_to_one(
    sides: Sequence[tuple[ListFile, list[str], list[str]]], one: str, other: str
) -> dict[str, str]:
    """Returns value -> the value beside it.

    Args:
        sides: lists with two of their columns each.
        one, other: what those are called.

    Raises:
        DatasetError: one value stands beside two.
    """
    forth: dict[str, str] = {}
    back: dict[str, str] = {}
    for found, left, right in sides:
        for a, b in dict.fromkeys(zip(left, right, strict=True)):
            if forth.setdefault(a, b) != b or back.setdefault(b, a) != a:
                before = (a, forth[a]) if forth[a] != b else (back[b], b)
                place = next(
                    f"{Path(f.where).name}, line {f.lines[pairs.index(before)]}"
                    for f, ls, rs in sides
                    if before in (pairs := list(zip(ls, rs, strict=True)))
                )
                row = list(zip(left, right, strict=True)).index((a, b))
                raise DatasetError(
                    f"{found.line(row)}: {plain(one)} {quoted(a)} goes with {plain(other)} "
                    f"{quoted(b)}, but {quoted(before[0])} with {quoted(before[1])} in {place}: "
                    "correct one of them, or remove the column that does not tell the classes"
                )
    return forth


def _numbers(found: ListFile, column: Column) -> list[str] | None:
    """Returns a column's values as whole numbers, None where they are names."""
    number_of = {
        spelling.strip(): str(int(spelling.partition(".")[0]))
        for spelling in column.spellings
        if NUMBER.fullmatch(spelling.strip())
    }
    names = [value for s in column.spellings if (value := s.strip()) not in number_of]
    if names and (column.named or not (number_of or any(map(_LIKE_A_NUMBER.fullmatch, names)))):
        return None
    if names:
        row = column.values.index(names[0])
        raise DatasetError(
            f"{found.line(row)}: {plain(column.name)} {quoted(names[0])} of "
            f"{plain(found.paths[row])} is no whole number from 0, as others are: correct it, or "
            "call the column class if they are names"
        )
    return [number_of[value] for value in column.values]
