"""Documents that programs read, changed as crashes, editors and people change them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([2**31, 2**63, 2**64, -(2**70), 10**30, 1e308, 0.5, -0.0]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=4),
    st.sampled_from(
        ["", " ", ".", "..", "/", "../x", "/etc/passwd", "a/b", "null", "1", "\0", "\ud800", "\n",
         "x" * 300, "s3://bucket/x", "0" * 64, "manifest.json"]
    ),
    st.just([]), st.just({}), st.just([[]]), st.just([None]), st.just({"": None}),
    st.just({"a": {"b": []}}),
)  # fmt: skip
_NOT_JSON = (
    "", "{", "null", "[]", '""', "1", "NaN", "[" * 100_000, '{"a":' * 5_000, "1" * 5_000,
    "\ufeff{}", "{}\n{}", "\udcff", '{"a": 1, "a": 2}',
)  # fmt: skip


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """A JSON value with up to three places of it removed, put elsewhere or replaced."""
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(found))
        if not places:
            return draw(ODD_VALUES)
        parent, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["remove", "replace", "replace", "another", "wrap", "rename"]))
        if how == "remove" or (how == "rename" and isinstance(parent, list)):
            del parent[key]
        elif how == "rename":
            parent[f"{key}_"] = parent.pop(key)
        elif how == "another":
            other, place = draw(st.sampled_from(places))
            parent[key] = copy.deepcopy(other[place])
        elif how == "wrap":
            parent[key] = [parent[key]]
        else:
            # Some are drawn again and again, and would hold themselves.
            parent[key] = copy.deepcopy(draw(ODD_VALUES))
    return found


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> bytes:
    """The bytes of a JSON document that was changed, cut or written over."""
    kind = draw(st.sampled_from(["changed"] * 6 + ["bytes", "other"]))
    if kind == "other":
        return draw(st.sampled_from(_NOT_JSON)).encode("utf-8", "surrogateescape")
    value = draw(changed(document)) if kind == "changed" else document
    content = json.dumps(value, indent=draw(st.sampled_from([None, 2]))).encode()
    return content if kind == "changed" else draw(damaged_bytes(content))


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes that were cut, written over, or repeated."""
    broken = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(broken) - 1)))
        how = draw(st.sampled_from(["cut", "over", "over", "repeat", "insert", "drop"]))
        if how == "cut":
            del broken[at:]
        elif how == "over" and broken:
            broken[at] = draw(st.one_of(st.integers(0, 255), st.sampled_from(b'\0\xff"{[,\n')))
        elif how == "repeat":
            broken[at:at] = broken[at : at + draw(st.integers(1, 40))]
        elif how == "insert":
            broken[at:at] = draw(st.binary(max_size=4))
        else:
            del broken[at : at + draw(st.integers(1, 40))]
    return bytes(broken)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every parent and key or position in a document."""
    if isinstance(value, dict):
        for key in list(value):
            yield value, key
            yield from _places(value[key])
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield value, position
            yield from _places(inner)
