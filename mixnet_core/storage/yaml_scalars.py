"""What an unquoted value in YAML is, whichever of its versions somebody has in mind.

What YAML 1.1 and YAML 1.2 read alike is that. Where they differ, as on `no`, `1:30`, `010`, `1_000`
and `2024-01-01`, it is the text that stands there, except that a number of version 1.2 with an
exponent, as `1e-3`, is a number where one is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+")
_ALIKE = re.compile(r"(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?")
_FRACTION = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.?[0-9]*)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

# What one version takes for another value than text, or people do.
_WORDS = {
    **dict.fromkeys(("yes", "on", "true", "1"), "true"),
    **dict.fromkeys(("no", "off", "false", "0"), "false"),
}
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_GROUPED = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)+(?:\.[0-9]+)?")
_SIXTIES = re.compile(r"[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?")
_COMMA = re.compile(r"[-+]?[0-9]+(?:,[0-9]+)+")
# Above it a float is no single whole number.
_EXACT = 2**53


class Written(float):
    """A number that YAML 1.1 takes for text, with the text."""

    text: str

    def __repr__(self) -> str:
        return self.text


def resolved(text: str) -> Any:
    """Returns what an unquoted value is: None, a bool, an int, a float, a `Written` or the text."""
    if _NULL.fullmatch(text):
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _NO_NUMBER.fullmatch(text):
        return float(text.replace(".", ""))
    if _ALIKE.fullmatch(text):
        return float(text)
    if _WHOLE.fullmatch(text):
        return _whole(text)
    return number_of(text)


def number_of(value: Any) -> Any:
    """Returns the number that a text such as `1e-3` is, in lists and mappings too; else the value.

    Who reads YAML 1.1, as Prefect does, passes on such a number as text.

    Raises:
        RecursionError: it has a thousand levels.
    """
    if isinstance(value, Mapping):
        return {key: number_of(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [number_of(inner) for inner in value]
    if isinstance(value, str) and _FRACTION.fullmatch(value) and not _is_alike(value):
        number = Written(value)
        number.text = value
        return number
    return value


def _is_alike(text: str) -> bool:
    return text.lstrip("+-").isdigit() or _ALIKE.fullmatch(text) is not None


def text_where_wanted(document: Any, errors: Iterable[Any]) -> bool:
    """Puts the text in the place of each number such as `1e-3` where a text was wanted.

    Args:
        document: what `yaml_files` read; it is changed.
        errors: `ValidationError.errors()`.

    Returns:
        Whether anything changed: the document is to be validated anew then.
    """
    changed = False
    for error in errors:
        if error["type"] != "string_type" or not error["loc"]:
            continue
        *outer, last = error["loc"]
        holder = value_at(document, outer)
        value = value_at(holder, [last])
        if isinstance(value, Written):
            holder[last] = value.text
            changed = True
    return changed


def value_at(document: Any, place: Iterable[Any]) -> Any:
    """Returns the value at a place in a document, keys and positions; None where there is none."""
    for part in place:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def advice(value: Any, wanted: str) -> str:
    """Says what to write instead of a value of another type, as in ": write true", or nothing.

    Args:
        wanted: "string", "bool", "int" or "float".
    """
    if wanted == "string":
        return ": put it in quotes" if isinstance(value, bool | int | float) else ""
    if wanted == "bool":
        meant = _WORDS.get(str(value).lower()) if isinstance(value, str | int) else None
        return "" if meant is None else f": write {meant}, without quotes"
    if wanted not in ("int", "float"):
        return ""
    if isinstance(value, float) and wanted == "int":
        return f": write {value:.0f}" if value.is_integer() and abs(value) < _EXACT else ""
    return _advice_on_text(value) if isinstance(value, str) else ""


def _advice_on_text(text: str) -> str:
    if _LEADING_ZERO.fullmatch(text):
        return ": YAML 1.1 takes a leading zero for base 8, write it without"
    if _GROUPED.fullmatch(text):
        return f": write {text.replace('_', '')}"
    if _OCTAL.fullmatch(text):
        return f": write {int(text, 8)}"
    if _SIXTIES.fullmatch(text):
        return ": YAML 1.1 takes colons for base 60, write it in full"
    if _COMMA.fullmatch(text):
        return ": a number has no comma, only a point before its fraction"
    return "" if isinstance(resolved(text), str | None) else ": write it without quotes"


def _whole(text: str) -> int | str:
    try:
        return int(text, 16 if text.startswith("0x") else 10)
    except ValueError:
        # Thousands of digits.
        return text
