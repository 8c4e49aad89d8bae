"""Faults that pydantic finds in a document, on one line and without a secret."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from mixnet_core.storage.uris import shown_key, shown_value

# Of a value in a message, in letters: the first hundred tell which it is.
_SHOWN = 100


def faults(error: ValidationError, *, quoted: bool = False) -> str:
    """Returns every fault of a document on one line.

    Args:
        quoted: as `fault`.
    """
    return "; ".join(fault(item, quoted=quoted) for item in error.errors(include_url=False))


def fault(item: Any, *, quoted: bool = False, lowered: bool = False) -> str:
    """Returns where a fault is and what it is.

    Args:
        item: one of `ValidationError.errors()`.
        quoted: whether it says the value too, without what may be secret in it. Values may be long.
        lowered: whether the words begin with a small letter.
    """
    message = " ".join(item["msg"].removeprefix("Value error, ").split())
    if lowered:
        message = f"{message[0].lower()}{message[1:]}"
    value = f", got {_short(shown_value(item['input']))}" if quoted else ""
    where = shown_key(item["loc"])
    if not where and item["type"] == "value_error":
        # A validator of a whole document says itself what it is about.
        return f"{message}{value}"
    return f"{where or 'as a whole'}: {message}{value}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
