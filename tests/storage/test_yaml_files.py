"""Files that people wrote by hand, with what editors and merges do to them."""

from __future__ import annotations

import codecs
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mixnet_core.errors import InputError
from mixnet_core.storage.yaml_files import (
    MOST_BYTES,
    MOST_LEVELS,
    MOST_VALUES,
    dump_yaml,
    parse_yaml,
    read_yaml,
)


def read(content: bytes | str) -> Any:
    return parse_yaml(content, "mine.yaml").value


def refusal(content: bytes | str) -> str:
    with pytest.raises(InputError) as raised:
        parse_yaml(content, "mine.yaml")
    message = str(raised.value)
    assert message.startswith("mine.yaml is ")
    assert "\n" not in message
    return message.removeprefix("mine.yaml is not valid YAML: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "a stands twice, in lines 1 and 3: keep one"),
        ("a: 1\n'a': 1\n", "a stands twice, in lines 1 and 2: keep one"),
        ("a: 1\na: 2\na: 3\n", "a stands 3 times, in lines 1, 2 and 3: keep one"),
        ("s:\n  t:\n    a: 1\n    a: 2\n", "s.t.a stands twice, in lines 3 and 4: keep one"),
        ("s:\n- a: 1\n- a: 1\n  a: 2\n", "s.1.a stands twice, in lines 3 and 4: keep one"),
        ("s: {a: 1, a: 2}\n", "s.a stands twice, in line 1: keep one"),
        (
            "a: 1\na: 1\nb: {c: 1, c: 2}\n",
            "a stands twice, in lines 1 and 2: keep one; b.c stands twice, in line 3: keep one",
        ),
        ("s: {a: 1}\ns: {a: 2}\n", "s stands twice, in lines 1 and 2: keep one"),
        ("<<: {}\n<<: {}\n", "<< stands twice, in lines 1 and 2: keep one"),
    ],
)
def test_a_repeated_key_is_refused_with_all_its_lines(content: str, message: str) -> None:
    assert refusal(content) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "while parsing a flow node"),
        ("a: 1\nb: 'x\nc: 2\n", "while scanning a quoted scalar from line 2 on: found unexpected"),
        ("a:\n\tb: 1\n", "in line 2, column 1"),
        ("a: 1\n---\nb: 2\n", "a second document begins in line 2, column 1, expected one"),
        ("a: 1\nb: *a\n", "nothing before it is named &a in line 2, column 4"),
        ("a: &a [1, *a]\n", "nothing before it is named &a in line 1, column 11"),
        ("a: 1\nb: !!python/object/apply:os.getcwd []\n", "!!python/object/apply:os.getcwd is not"),
        ("a: !!timestamp 2024-01-01\n", "!!timestamp is not taken in line 1, column 4"),
        ("a: !mine 1\n", "!mine is not taken in line 1, column 4"),
        ("a: !!int x\n", "!!int is not taken in line 1, column 4"),
        ("? [a, b]\n: 1\n", "a key that is no text in line 1"),
        ("a: 1\n<<: 3\n", "<< takes mappings in line 2"),
        ("a: 1\nb: x\0y\n", "a character that text does not have, 0x0, in line 2"),
        (b"a: 1\nb: \xfc\n", "it is not text in UTF-8 in line 2"),
        (b"\xff\xfea", "it is not text in UTF-16 in line 1"),
        ("a: 1\n".encode("utf-16-le"), "a character that text does not have, 0x0, in line 1"),
        (b"\x89PNG\r\n\x1a\n", "it is not text in UTF-8 in line 1"),
    ],
)
def test_what_is_no_yaml_is_one_line_that_says_where(content: bytes | str, message: str) -> None:
    assert message in refusal(content)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_file_of_an_editor_that_marks_its_encoding_is_read(encoding: str) -> None:
    assert read("größe: 1\r\n".encode(encoding)) == {"größe": 1}
    assert read(codecs.BOM_UTF16_BE + "a: 1".encode("utf-16-be")) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("", None),
        ("# nothing\n\n# at all\n", None),
        ("---\na: 1\n...\n", {"a": 1}),
        ("a: 1\rb: 2\r", {"a": 1, "b": 2}),
        ("no: 1\n8: 2\n010: 3\n", {"no": 1, "8": 2, "010": 3}),
        ("a: !!str 010\nb: !!float 1\nc: ! 5\n", {"a": "010", "b": 1, "c": "5"}),
        ("m: &m [1, 2]\ns: *m\n", {"m": [1, 2], "s": [1, 2]}),
        ("b: &b {x: 1, y: 1}\nc: {<<: *b, y: 2}\n", {"b": {"x": 1, "y": 1}, "c": {"x": 1, "y": 2}}),
        ("<<: [{x: 1}, {x: 2, y: 2}]\n", {"x": 1, "y": 2}),
        ("'<<': 1\n", {"<<": 1}),
    ],
)
def test_what_yaml_has_beside_keys_and_values_is_read(content: str, value: Any) -> None:
    assert read(content) == value


def test_what_an_alias_stands_for_is_a_copy() -> None:
    value = read("m: &m [1, 2]\ns: *m\n")
    value["m"].append(3)
    assert value["s"] == [1, 2]


def test_every_key_and_item_has_its_line() -> None:
    document = parse_yaml("a: 1\ns:\n  t:\n  - x\n  - y\n", "mine.yaml")
    assert [document.line(place) for place in (["a"], ["s", "t"], ["s", "t", 1], ["z"])] == [
        1, 3, 5, None,
    ]  # fmt: skip
    without = document.without(["s", "t"])
    assert [without.line(place) for place in (["s"], ["s", "t"], ["s", "t", 1])] == [2, None, None]


def bomb(line: str, lines: int) -> str:
    """Aliases of aliases: some hundred thousand values, which a machine survives."""
    return "a0: &a0 {x: 1}\n" + "".join(line.format(n, n - 1) for n in range(1, lines))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            bomb("a{0}: &a{0} [*a{1}, *a{1}, *a{1}]\n", 12),
            f"more than {MOST_VALUES:,} values, aliases",
        ),
        (
            bomb("a{0}: &a{0}\n  <<: *a{1}\n  k{0}: [*a{1}, *a{1}]\n", 17),
            f"more than {MOST_VALUES:,}",
        ),
        ("a: [" + "1," * 100_000 + "]", f"more than {MOST_VALUES:,} values"),
        ("[" * 100_000, f"more than {MOST_LEVELS} levels in line 1, column 22"),
        ("{a: " * 50_000, f"more than {MOST_LEVELS} levels"),
        ("- " * 100_000, f"more than {MOST_LEVELS} levels"),
        ("a: 1 #" + "x" * MOST_BYTES, f"longer than {MOST_BYTES:,} bytes"),
    ],
    ids=["aliases", "merged", "values", "brackets", "braces", "dashes", "bytes"],
)
def test_what_would_fill_memory_or_stack_is_refused_at_once(content: str, words: str) -> None:
    before = time.thread_time()
    assert words in refusal(content)
    assert time.thread_time() - before < 1


def test_of_a_large_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with path.open("wb") as file:
        file.truncate(100 << 30)
    with pytest.raises(InputError, match=r"mine\.yaml is longer than"):
        read_yaml(path)


@pytest.mark.parametrize(
    "text", ["1e-3", "1E5", "no", "1:30", "010", "2024-01-01", "null", "", "x"]
)
def test_what_is_written_is_the_same_to_every_reader(text: str) -> None:
    written = dump_yaml({"a": text, "b": 1e-5})
    assert read(written) == yaml.safe_load(written) == {"a": text, "b": 1e-5}
    # To one of version 1.2 a text that has no quotes would be a number.
    assert ("'" in written) == (text != "x")
