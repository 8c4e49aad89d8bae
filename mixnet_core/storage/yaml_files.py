"""The one reader of YAML that people write: recipes, MindCV's files, catalogs, values of --set.

What a value is says `yaml_scalars`. A repeated key is refused, as YAML demands. PyYAML's own
loaders take its last value, and what they make of aliases and of depth can be larger than memory
and stack.
"""

from __future__ import annotations

import codecs
import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mixnet_core.errors import InputError
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import shown, shown_key, shown_words
from mixnet_core.storage.yaml_scalars import number_of, resolved

# A recipe has 4,000 bytes, 100 values and 4 levels, a catalog some hundred entries of ten values.
MOST_BYTES = 256 * 1024
MOST_VALUES = 20_000
MOST_LEVELS = 20

Place = tuple[str | int, ...]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    # Before that of UTF-16, which it begins with.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_TAGS = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """What stands in a file.

    Attributes:
        value: mappings with text as keys, lists, and what `yaml_scalars.resolved` returns.
        lines: where a key or an item of a list stands -> its line, from 1.
    """

    value: Any
    lines: dict[Place, int]

    def line(self, place: Iterable[str | int]) -> int | None:
        """Returns the line of what stands at a place; None where nothing does."""
        return self.lines.get(tuple(place))

    def without(self, place: Iterable[str | int]) -> Document:
        """Returns it without the lines of what stands at a place, where something else is now."""
        gone = tuple(place)
        lines = {here: line for here, line in self.lines.items() if here[: len(gone)] != gone}
        return Document(self.value, lines)


def read_yaml(path: Path) -> Document:
    """Reads a YAML file in UTF-8, or with a byte order mark in UTF-16 or UTF-32.

    Raises:
        InputError: the file is not YAML, repeats a key, or is longer or deeper than any that is
            meant; it says the line.
        MachineError: it cannot be read.
    """
    with os_errors_explained(path, "read"), path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    return parse_yaml(content, shown(str(path)))


def parse_yaml(content: bytes | str, where: str) -> Document:
    """Reads YAML; see `read_yaml`.

    Args:
        where: what it is, in messages.

    Raises:
        InputError: as `read_yaml`.
    """
    if len(content) > MOST_BYTES:
        raise InputError(
            f"{where} is longer than {MOST_BYTES:,} bytes, which no recipe and no catalog is: name "
            "one of those"
        )
    try:
        text = content if isinstance(content, str) else _decoded(content)
        return _Reader(text).document()
    except _Fault as error:
        raise InputError(f"{where} is not valid YAML: {error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{where} is not valid YAML: {_said(error, text)}") from None


def dump_yaml(value: Any) -> str:
    """Writes plain data as YAML that versions 1.1 and 1.2 read alike."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    """Puts a text in quotes that only version 1.2 takes for a number."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = "'" if isinstance(number_of(text), float) else None
        return self.represent_scalar(f"{_TAGS}str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


class _Fault(Exception):
    """What is wrong with a document, and where."""


@dataclass
class _Anchored:
    value: Any
    size: int


@dataclass
class _Reader:
    """Makes a document of the parser's events, which come as they are needed."""

    text: str
    lines: dict[Place, int] = field(default_factory=dict)
    anchors: dict[str, _Anchored] = field(default_factory=dict)
    repeated: dict[Place, list[int]] = field(default_factory=dict)
    size: int = 0

    def document(self) -> Document:
        events: Iterator[Any] = yaml.parse(self.text, Loader=yaml.SafeLoader)
        next(events)
        value = None
        if isinstance(next(events), yaml.DocumentStartEvent):
            value = self.value(next(events), events, ())
            next(events)
            second = next(events)
            if isinstance(second, yaml.DocumentStartEvent):
                raise _Fault(f"a second document begins{_at(second)}, expected one")
        if self.repeated:
            raise _Fault("; ".join(self.said_twice()))
        return Document(value, self.lines)

    def value(self, event: Any, events: Iterator[Any], place: Place) -> Any:
        """Makes the value that begins with an event."""
        if isinstance(event, yaml.AliasEvent):
            return self.aliased(event)
        before = self.size
        self.count(event, 1)
        if len(place) > MOST_LEVELS:
            raise _Fault(f"more than {MOST_LEVELS} levels{_at(event)}")
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            _expect_tag(event, "seq")
            value = self.sequence(events, place)
        else:
            _expect_tag(event, "map")
            value = self.mapping(events, place)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(value, self.size - before)
        return value

    def aliased(self, event: Any) -> Any:
        """Copies what an alias stands for, so that one can be changed without the other."""
        target = self.anchors.get(event.anchor)
        if target is None:
            raise _Fault(f"nothing before it is named &{shown_words(event.anchor)}{_at(event)}")
        self.count(event, target.size)
        return copy.deepcopy(target.value)

    def count(self, event: Any, values: int) -> None:
        self.size += values
        if self.size > MOST_VALUES:
            raise _Fault(f"more than {MOST_VALUES:,} values, aliases counted{_at(event)}")

    def sequence(self, events: Iterator[Any], place: Place) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            here = (*place, len(items))
            self.lines[here] = _line(event)
            items.append(self.value(event, events, here))
        return items

    def mapping(self, events: Iterator[Any], place: Place) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key, line = self.key(event), _line(event)
            here = (*place, key)
            if here in self.lines:
                self.repeated.setdefault(here, [self.lines[here]]).append(line)
            self.lines.setdefault(here, line)
            merges = key == "<<" and getattr(event, "style", "") is None
            value = self.value(event := next(events), events, here)
            if merges:
                merged = _merged(value, event)
            else:
                own[key] = value
        for key in merged:
            self.lines.setdefault((*place, key), self.lines[*place, "<<"])
        return merged | own

    def said_twice(self) -> Iterator[str]:
        """Yields a line on each repeated key, but not on those within a repeated one."""
        for place, lines in self.repeated.items():
            if any(place[:depth] in self.repeated for depth in range(1, len(place))):
                continue
            *first, last = (str(line) for line in lines)
            counted = "twice" if len(lines) == 2 else f"{len(lines)} times"
            at = f"lines {', '.join(first)} and {last}" if {*first} != {last} else f"line {last}"
            yield f"{shown_key(place)} stands {counted}, in {at}: keep one"

    def key(self, event: Any) -> str:
        """Returns a key, which is text however it looks."""
        self.count(event, 1)
        if isinstance(event, yaml.AliasEvent):
            key = self.aliased(event)
        else:
            key = event.value if isinstance(event, yaml.ScalarEvent) else None
            if getattr(event, "tag", None) not in (None, "!", f"{_TAGS}str"):
                raise _Fault(f"a key has the tag {_shown_tag(event.tag)}{_at(event)}")
            if event.anchor is not None:
                self.anchors[event.anchor] = _Anchored(key, 1)
        if not isinstance(key, str):
            raise _Fault(f"a key that is no text{_at(event)}")
        return key


def _scalar(event: Any) -> Any:
    if event.tag is None:
        return resolved(event.value) if event.style is None else event.value
    if event.tag in ("!", f"{_TAGS}str"):
        return event.value
    value = resolved(event.value)
    kinds = {int: ("int", "float"), bool: ("bool",), type(None): ("null",)}
    if event.tag.removeprefix(_TAGS) not in kinds.get(type(value), ("float",)):
        raise _Fault(f"{_shown_tag(event.tag)} is not taken{_at(event)}")
    if isinstance(value, str):
        raise _Fault(f"{_shown_tag(event.tag)} {shown_words(value)} is no number{_at(event)}")
    return value


def _expect_tag(event: Any, name: str) -> None:
    if event.tag not in (None, "!", f"{_TAGS}{name}"):
        raise _Fault(f"{_shown_tag(event.tag)} is not taken{_at(event)}")


def _shown_tag(tag: str) -> str:
    return shown_words(f"!!{tag.removeprefix(_TAGS)}" if tag.startswith(_TAGS) else tag)


def _merged(value: Any, event: Any) -> dict[str, Any]:
    """Returns what a key `<<` adds: of several mappings the first one's value counts."""
    merged: dict[str, Any] = {}
    for mapping in value if isinstance(value, list) else [value]:
        if not isinstance(mapping, dict):
            raise _Fault(f"<< takes mappings{_at(event)}")
        merged = mapping | merged
    return merged


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _at(event: Any) -> str:
    return f" in line {_line(event)}, column {event.start_mark.column + 1}"


def _decoded(content: bytes) -> str:
    marked = ((mark, name) for mark, name in _MARKS if content.startswith(mark))
    mark, encoding = next(marked, (b"", "utf-8"))
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _Fault(f"it is not text in {encoding.upper()[:6]} in line {line}") from None


def _said(error: yaml.YAMLError, text: str) -> str:
    """Says what is wrong and where, on one line.

    It leaves out the lines around it, which YAML's own text has: half of a secret that is cut in
    the middle does not look like one.
    """
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"a character that text does not have, {error.character:#x}, in line {line}"
    if not isinstance(error, yaml.MarkedYAMLError):
        return type(error).__name__
    mark = error.problem_mark or error.context_mark
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    begun = error.context_mark
    since = f" from line {begun.line + 1} on" if begun and mark and begun.line < mark.line else ""
    said = ": ".join(part for part in (f"{error.context or ''}{since}", error.problem) if part)
    return shown_words(said) + where
