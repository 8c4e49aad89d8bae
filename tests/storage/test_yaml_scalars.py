"""Unquoted values, beside what PyYAML's reader of version 1.1 makes of them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from mixnet_core.storage.yaml_scalars import (
    Written,
    advice,
    number_of,
    resolved,
    text_where_wanted,
)


@pytest.mark.parametrize(
    "text",
    ["null", "Null", "~", "", "true", "False", "TRUE", "0", "-7", "+7", "0x1F", "0.1", "-1.5", "5.",
     ".5", "1.0e-3", "1.5e+3", ".inf", "-.INF", "x", "a b", "1.2.3", "y", "n",
     "e3", "1e", ".", "+", "12345678901234567890", "nan", "inf", "08", "0o8", "0xg", "1,5", "10%"],
)  # fmt: skip
def test_what_both_versions_read_alike_is_that(text: str) -> None:
    value = resolved(text)
    assert (type(value), value) == (type(yaml.safe_load(text)), yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    ["yes", "No", "ON", "off", "1:30", "190:20:30.15", "2024-01-01", "2024-01-01 10:00:00", "010",
     "-017", "00", "0o10", "0b11", "1_000", "1_000.5", "0x_1", "=", "<<"],
)  # fmt: skip
def test_what_they_read_differently_is_the_text_that_stands_there(text: str) -> None:
    assert resolved(text) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-3", 1e-3), ("1E5", 1e5), ("-2e+4", -2e4), ("+1e3", 1e3), ("1.5e3", 1500), (".5e1", 5),
     ("-.5", -0.5), ("1e400", float("inf"))],
)  # fmt: skip
def test_a_number_that_version_1_1_takes_for_text_is_both(text: str, number: float) -> None:
    value = resolved(text)
    assert isinstance(value, Written)
    assert (float(value), value.text, repr(value)) == (number, text, text)
    assert isinstance(number_of(text), Written)


def test_only_such_a_number_is_one_where_another_reader_passed_on_text() -> None:
    for value in ("10", "0.1", "no", "1e", "", "0x1", 3, None):
        assert number_of(value) is value
    assert number_of({"a": ["1e3", "1"]}) == {"a": [1000.0, "1"]}


def test_where_text_is_wanted_such_a_number_is_its_text() -> None:
    document: dict[str, Any] = {"a": [resolved("12345e67"), resolved("5")], "b": resolved("1e3")}
    faults = [{"type": "string_type", "loc": ("a", position)} for position in (0, 1, 7)]
    assert text_where_wanted(document, faults)
    assert document == {"a": ["12345e67", 5], "b": 1e3}
    assert not text_where_wanted(document, faults)


def test_a_number_of_thousands_of_digits_is_text() -> None:
    assert resolved("9" * 5000) == "9" * 5000


@pytest.mark.parametrize(
    ("value", "wanted", "said"),
    [
        ("no", "bool", "write false"),
        ("On", "bool", "write true"),
        (0, "bool", "write false"),
        ("true", "bool", "without quotes"),
        ("8", "int", "without quotes"),
        (8.0, "int", "write 8"),
        (1e300, "int", ""),
        ("1_000", "int", "write 1000"),
        ("010", "int", "base 8"),
        ("0o10", "int", "write 8"),
        ("1:30", "float", "base 60"),
        ("1,5", "float", "no comma"),
        (2024, "string", "in quotes"),
        (None, "string", ""),
        ([1], "bool", ""),
        (-1.0, "greater", ""),
    ],
)
def test_a_value_of_another_type_is_told_what_to_write(value: Any, wanted: str, said: str) -> None:
    found = advice(value, wanted)
    assert said in found
    assert bool(found) == bool(said)
