"""The rows of a list, as Excel, pandas and Kaggle write them: from bytes to text.

The encoding is UTF-8 or, with its mark, UTF-16. Spaces around a value do not count, nor do blank
rows.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from mixnet_core.data.lists.header import EXPECTED, Header, header_of, some
from mixnet_core.data.lists.text import DELIMITERS, encoding_of, no_csv, not_utf_8, plain, records
from mixnet_core.errors import DatasetError


class Column(NamedTuple):
    """Describes a column that tells what is on an image.

    Attributes:
        name: as the header has it.
        named: whether its header is one of classes' names, which may be numbers too.
        values: one per row, without spaces around.
        spellings: how they are written, spaces included, each once.
    """

    name: str
    named: bool
    values: list[str]
    spellings: list[str]


class _Cells(NamedTuple):
    """Holds a column while it is read: its spellings without spaces around, its values."""

    spellings: dict[str, str]
    values: list[str]


@dataclass(frozen=True, eq=False)
class ListFile:
    """Holds the rows of a list in the file's order.

    Attributes:
        where: what a message calls the file.
        path_column: the header of the column with the images.
        other_paths: headers that would have done as well.
        paths: of each row as the file has it, without spaces around.
        columns: those that tell what is on the image, in the header's order.
        lines: of each row in the file, from 1.
        header: the names of all columns.
    """

    where: str
    path_column: str
    other_paths: tuple[str, ...]
    paths: list[str]
    columns: tuple[Column, ...]
    lines: array[int]
    header: list[str]

    @property
    def labelled(self) -> bool:
        """Tells whether it says of any image what is on it."""
        return any(any(column.values) for column in self.columns)

    def line(self, row: int) -> str:
        """Names the line of a row in a message."""
        return f"{self.where}, line {self.lines[row]}"


def list_of(content: bytes, where: str) -> ListFile:
    """Reads a list, whether or not its images are labelled.

    Args:
        content: the whole file.
        where: what messages call it.

    Raises:
        DatasetError: it is no text in UTF-8 or marked UTF-16 or no CSV, has no column with images,
            no rows, two columns of one name, or rows of several splits; a row has no image or more
            values than columns. The message names the line.
    """
    encoding = encoding_of(content, where)
    header = header_of(content, encoding, where)
    try:
        return _rows(content, encoding, header, where)
    except UnicodeDecodeError as error:
        raise not_utf_8(content, encoding, where) from error


def expect_labelled(found: ListFile) -> ListFile:
    """Returns a list whose images are labelled, each of them.

    Raises:
        DatasetError: they are not; the first one is named.
    """
    if not found.columns:
        raise DatasetError(
            f"{found.where} has the columns {some(found.header)}, none of them with labels or "
            f"classes: {EXPECTED}; rename the one that tells what is on an image"
        )
    for column in found.columns:
        if "" in column.values:
            row = column.values.index("")
            raise DatasetError(
                f"{found.line(row)}: {plain(found.paths[row])} has no {plain(column.name)}: fill "
                "it in or remove the row"
            )
    return found


def _rows(content: bytes, encoding: str, header: Header, where: str) -> ListFile:
    names, path_at = header.names, header.path
    paths: list[str] = []
    lines = array("L")
    # Each spelling once: a list of a million rows has a thousand classes.
    read = {at: _Cells({}, []) for at in header.values + header.splits}
    for line, row in _lines(content, encoding, header, where):
        path = row[path_at].strip()
        if not path:
            raise DatasetError(
                f"{where}, line {line}: no {plain(names[path_at])}: fill it in or remove the row"
            )
        paths.append(path)
        lines.append(line)
        for at, (spellings, values) in read.items():
            value = row[at]
            stripped = spellings.get(value)
            if stripped is None:
                stripped = spellings[value] = value.strip()
            values.append(stripped)
    if not paths:
        raise DatasetError(f"{where} lists no images: {EXPECTED}, one row per image")
    for at in header.splits:
        _expect_one_split(names[at], read[at].values, where)
    columns = tuple(
        Column(names[at], at in header.classes, read[at].values, list(read[at].spellings))
        for at in header.values
    )
    # A column that nobody filled in is none, beside one that somebody did.
    columns = tuple(column for column in columns if any(column.values)) or columns
    others = tuple(names[at] for at in header.other_paths)
    return ListFile(where, names[path_at], others, paths, columns, lines, names)


def _lines(
    content: bytes, encoding: str, header: Header, where: str
) -> Iterator[tuple[int, list[str]]]:
    """Yields line and values of each row, one value per column.

    Raises:
        DatasetError: as `list_of`.
        UnicodeDecodeError: at what cannot be read.
    """
    width = len(header.names)
    found = records(content, encoding, header.delimiter)
    line, _ = next(found)
    try:
        for line, row in found:
            if len(row) == width:
                yield line, row
            else:
                yield line, _fitted(row, width, f"{where}, line {line}", header.delimiter)
    except csv.Error as error:
        raise no_csv(where, line + 1, error) from error


def _fitted(row: list[str], width: int, where: str, delimiter: str) -> list[str]:
    """Returns a row with one value per column: what is missing or blank at its end does not count.

    Raises:
        DatasetError: it has more values than columns.
    """
    if any(map(str.strip, row[width:])):
        raise DatasetError(
            f"{where}: more values than columns: put what has "
            f"{'a comma' if delimiter == ',' else f'one of the {DELIMITERS[delimiter]}'} into "
            "quotes"
        )
    return row[:width] + [""] * (width - len(row))


def _expect_one_split(name: str, values: list[str], where: str) -> None:
    several = sorted(set(values))
    if len(several) > 1:
        raise DatasetError(
            f"{where} has rows of several splits ({plain(name)} {some(several)}): make a list of "
            "each, train.csv and val.csv"
        )
