"""Pickles as Python writes them, and such as nobody writes who means well."""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
import struct
from typing import Any

import pytest

from mixnet_core.checkpoints import pickled
from mixnet_core.checkpoints.pickled import (
    BrokenPickle,
    Inert,
    Known,
    RefusedName,
    read_pickle,
)

PLAIN: list[Any] = [
    None,
    True,
    [1, -1, 255, 256, 65536, 2**31, -(2**40), 2**2000],
    [0.5, float("inf")],
    ["", "words", "öäü", "x" * 300],
    [b"", b"bytes" * 99],
    {"a": {"b": [1, (2,), (3, 4), (5, 6, 7), (8, 9, 10, 11), ()]}, 1: "one", None: 2},
    [[1] * 3, {"same": []}],
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN, ids=lambda value: str(value)[:20])
def test_plain_data_is_what_python_reads(value: Any, protocol: int) -> None:
    names = {"_codecs.encode": Known("_codecs.encode", lambda a: a[0].encode("latin1"))}
    # Below protocol 3 bytes are made by calls.
    names |= {
        f"{module}.bytes": Known("bytes", lambda _: b"") for module in ("builtins", "__builtin__")
    }
    content = io.BytesIO(pickle.dumps(value, protocol) + b"rest")
    assert read_pickle(content, names) == value
    assert content.read() == b"rest"


def test_what_holds_itself_is_read_and_ends() -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    found = read_pickle(io.BytesIO(pickle.dumps(circle)), {})
    assert found[1] is found


def test_a_name_is_looked_up_and_nothing_else_happens() -> None:
    content = pickle.dumps(collections.OrderedDict(a=1))
    with pytest.raises(RefusedName) as raised:
        read_pickle(io.BytesIO(content), {})
    assert raised.value.name == "collections.OrderedDict"
    known = {"collections.OrderedDict": Known("collections.OrderedDict", lambda _: {})}
    assert read_pickle(io.BytesIO(content), known) == {"a": 1}


class Runs:
    """Would run a program."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/ran",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_call_is_refused_by_its_name_even_where_it_is_thrown_away(protocol: int) -> None:
    for value in (Runs(), {"a": [Runs()]}):
        with pytest.raises(RefusedName, match=r"(posix|os|nt)\.system"):
            read_pickle(io.BytesIO(pickle.dumps(value, protocol)), {})
    with pytest.raises(RefusedName, match=r"os\.system"):
        read_pickle(io.BytesIO(b"\x80\x02cos\nsystem\n0}."), {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged or cut short"),
        (b"\x80\x02}", "damaged or cut short"),
        (b"\x80\x02.", "damaged or cut short"),
        (b"\x80\x02(.", "damaged"),
        (b"\x80\x02Kq\x01.", "damaged or cut short"),
        (b"h\x05.", "damaged or cut short"),
        (b"K\x01K\x02R.", "calls what is not to be called"),
        (b"]K\x01K\x02s.", "damaged"),
        (b"}K\x01a.", "appends to what is no list"),
        (b"K\x01Q.", "refers to what is outside"),
        (b"P1\n.", "holds the instruction PERSID"),
        (b"\x82\x01.", "holds the instruction EXT1"),
        (b"(ios\nsystem\n.", "holds the instruction INST"),
        (b"\x8d" + struct.pack("<Q", 2**62) + b"x.", "is longer than"),
        (b"B" + struct.pack("<I", 2**32 - 1) + b"x.", "is longer than"),
        (b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x.", "is longer than"),
        (b"\xff", "damaged or cut short"),
    ],
)
def test_what_is_no_whole_pickle_is_said(content: bytes, said: str) -> None:
    with pytest.raises(BrokenPickle, match=said):
        read_pickle(io.BytesIO(content), {})


def test_tuples_within_tuples_are_never_hashed() -> None:
    # 60 times a pair of what was before: hashing the last takes 2^60 steps.
    nested = b"K\x01" + b"2\x86" * 60
    found = read_pickle(io.BytesIO(b"}" + nested + b"K\x02s."), {})
    assert found == {"<tuple>": 2}


def test_whole_numbers_of_one_hash_are_no_keys() -> None:
    same = [number * (2**61 - 1) for number in range(1, 9)]
    found = read_pickle(io.BytesIO(pickle.dumps(dict.fromkeys(same, 0))), {})
    assert found == {"<int>": 0}


def test_what_is_copied_again_and_again_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "MOST_STEPS", 1000)
    known = {"m.copy": Known("m.copy", lambda given: list(given[0]))}
    content = b"cm\ncopy\nq\x00](" + b"N" * 100 + b"e\x85q\x010(" + b"h\x00h\x01R" * 50 + b"t."
    with pytest.raises(BrokenPickle, match="copies more than 1,000 values"):
        read_pickle(io.BytesIO(content), known)


def test_a_pickle_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "MOST_STEPS", 100)
    with pytest.raises(BrokenPickle, match="more than 100 instructions"):
        read_pickle(io.BytesIO(b"N0" * 1000 + b"N."), {})
    monkeypatch.setattr(pickled, "MOST_BYTES", 100)
    with pytest.raises(BrokenPickle, match="longer than"):
        read_pickle(io.BytesIO(pickle.dumps("x" * 200)), {})


def test_of_an_inert_object_nothing_is_kept() -> None:
    import argparse

    known = {"argparse.Namespace": Known("argparse.Namespace", lambda _: Inert("Namespace"))}
    content = pickletools.optimize(pickle.dumps({"args": argparse.Namespace(a=1)}, 2))
    found = read_pickle(io.BytesIO(content), known)
    assert isinstance(found["args"], Inert)
