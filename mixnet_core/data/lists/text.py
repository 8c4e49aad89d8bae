"""A text file of a user's, whatever program wrote it: its encoding, and the records of a CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from mixnet_core.errors import DatasetError
from mixnet_core.storage.uris import shown

# What separates values -> what people call it.
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# A header is found in so many bytes; a list may have a thousand columns.
HEAD_BYTES = 1 << 18
_SHOWN = 160
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t])"?\r?\n?', re.IGNORECASE)


def text_of(content: bytes, where: str) -> str:
    """Decodes a text file as lists are.

    Raises:
        DatasetError: it is no text in UTF-8 or marked UTF-16.
    """
    encoding = encoding_of(content, where)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise not_utf_8(content, encoding, where) from error


def encoding_of(content: bytes, where: str) -> str:
    """Tells UTF-16 by its mark, anything else is UTF-8.

    Raises:
        DatasetError: it is no text.
    """
    if content.startswith(_UTF_16):
        return "utf-16"
    if content.startswith(b"PK\3\4"):
        raise DatasetError(
            f"{where} is an Excel or zip file: expected text, save it in UTF-8 (Excel: CSV UTF-8)"
        )
    if b"\0" in content[:HEAD_BYTES]:
        raise DatasetError(
            f"{where} holds zero bytes, as binary files and UTF-16 without its mark do: expected "
            "text, save it in UTF-8 (Excel: CSV UTF-8)"
        )
    return "utf-8-sig"


def not_utf_8(content: bytes, encoding: str, where: str) -> DatasetError:
    """Says where a text is not in the encoding that it seemed to be in."""
    if encoding == "utf-16":
        return DatasetError(
            f"{where} begins as UTF-16 and is not: save it in UTF-8 (Excel: CSV UTF-8)"
        )
    try:
        content.decode("utf-8")
        at = 0
    except UnicodeDecodeError as error:
        at = error.start
    before = content[:at]
    line = len(before.splitlines()) + (before.endswith((b"\n", b"\r")) or not before)
    return DatasetError(
        f"{where}, line {line}: byte 0x{content[at]:02x} is not UTF-8, perhaps it is in "
        "Latin-1 or Windows-1252: save it in UTF-8 (Excel: CSV UTF-8)"
    )


def records(content: bytes, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields line and values of what is not blank; "sep=;" above the header is Excel's.

    Raises:
        UnicodeDecodeError, csv.Error: at what cannot be read.
    """
    # Not splitlines(): it also splits at characters that a name may contain. Decoded piece by
    # piece, for a StringIO takes four bytes a character.
    stream = io.TextIOWrapper(io.BytesIO(content), encoding, newline="")
    rows = csv.reader(stream, delimiter=delimiter, strict=True, skipinitialspace=True)
    first = True
    for row in rows:
        if any(row) and any(map(str.strip, row)):
            if not (first and _SEPARATOR_LINE.fullmatch(delimiter.join(row))):
                yield rows.line_num, row
            first = False


def plain(text: str) -> str:
    """Shows a user's text in a message: on one line, no secret in it, not all of a long one."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown(text))
    return f"{line[:_SHOWN]}..." if len(line) > _SHOWN else line


def quoted(text: str) -> str:
    """Shows a user's text in quotes, as `plain`."""
    return f"'{plain(text)}'"


def no_csv(where: str, line: int, error: csv.Error) -> DatasetError:
    """Says where a text is no CSV."""
    return DatasetError(
        f"{where}, line {line}: no CSV ({error}): put a value that holds what separates values, "
        "quotes or a line's end into quotes, and double the quotes in it"
    )
