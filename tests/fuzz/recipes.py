"""YAML files as people write, mend and paste them."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import yaml
from hypothesis import strategies as st

from mixnet_core.recipe.recipe import RECIPES
from tests.fuzz.documents import ODD_VALUES, changed, damaged_bytes

_MINDCV = Path(__file__).parents[1] / "recipe" / "mindcv_files"

ODD_SCALARS = (
    "", "~", "null", "no", "No", "on", "y", "true", "True", "TRUE", "3", "'3'", '"3"', "+3", "-3",
    "0", "-0", "1_000", "0777", "0o7", "0x1F", "0b1", "1:30", "190:20:30", "1e-3", "1E5", "1.e2",
    ".5", "5.", "1e999", "-1e999", ".inf", ".nan", "nan", "1.0", "1,5", "50%", "2026-01-01",
    "2026-01-01T10:00:00Z", "[]", "{}", "[1, 1]", "[0.08, 1]", "[[]]", "{a: b}", "a: b", "- 1",
    "? a", "&a [*a]", "*a", "<<", "<<: *a", "=", "!!int 3", "!!str 3", "!!float x", "!!binary aGk=",
    "!!set {a, b}", "!!omap [a: 1]", "!!timestamp x", "!!python/object/apply:os.getcwd []",
    "!!python/name:os.system", "!unknown x", "|", ">", "|2", "#", "%", "@a", "`a`", "'", '"', "[",
    "]", "{", "}", ",", ":", "- ", "\t3", "\u00a03", "\u2028", "\x00", "\x07", "\ufeff3", "\u0663",
    "\U0001f426", "null null", "s3://KEY:SECRET@bucket", "../x", "/etc/passwd", "~/x", "$HOME",
    "None", "digits", "mixnet_s", "image_folder", "cosine", "O2", "9" * 5_000, "0." + "1" * 5_000,
    "x" * 5_000, "[" * 3_000, "{a: " * 3_000, "- " * 3_000,
)  # fmt: skip
_ODD_LINES = (
    "---", "...", "--- a", "%YAML 1.1", "%TAG ! x", "a:", "network:", "training: {epochs: 3}",
    "training:\n  epochs: 3", "epochs: 3", "? [a]\n: b", "1: 2", "null: 3", "[a, b]: c", "{}: 1",
    "&a :", "<<: {epochs: 3}", "x: &x {a: 1}\ny:\n  <<: [*x, *x]", "\tname: x", " name: x",
    "name x", "- a", "name: a: b", "'name': x", '"na\\u006de": x', "name: |\n  x",
    "acceptance: {min_top1: 0.5}", "selection: {policy: last}", "rules: 1", "model: mixnet_s",
    "lr: 0.1", "2026-01-01: x", "true: x",
)  # fmt: skip
_VALUE = re.compile(r"(?m)^( *[\w]+:)(.*)$")

odd_scalars = st.one_of(st.sampled_from(ODD_SCALARS), st.text(max_size=5))


@functools.cache
def texts() -> tuple[str, ...]:
    """The bundled recipes and MindCV's."""
    files = [*sorted(RECIPES.glob("*.yaml")), *sorted(_MINDCV.glob("*.yaml"))]
    return tuple(path.read_text(encoding="utf-8") for path in files)


@functools.cache
def dotted_keys() -> tuple[str, ...]:
    """Every key of a bundled recipe, as --set takes it."""
    data = yaml.safe_load(texts()[0])
    inner = [f"{key}.{name}" for key, v in data.items() if isinstance(v, dict) for name in v]
    return (*data, *inner)


@st.composite
def edited(draw: st.DrawFn) -> bytes:
    """A recipe's text in which lines and values were replaced, repeated, moved or lost."""
    lines = draw(st.sampled_from(texts())).split("\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        how = draw(st.sampled_from(["value", "value", "value", "line", "drop", "repeat", "indent"]))
        if how == "value":
            value = draw(odd_scalars)
            lines[at] = _VALUE.sub(lambda found: f"{found[1]} {value}", lines[at])  # noqa: B023
        elif how == "line":
            lines.insert(at, draw(st.sampled_from(_ODD_LINES)))
        elif how == "drop" and len(lines) > 1:
            del lines[at]
        elif how == "repeat":
            lines.insert(draw(st.integers(0, len(lines))), lines[at])
        else:
            lines[at] = f"{draw(st.sampled_from(['  ', ' ', chr(9), '- ', '# ']))}{lines[at]}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@st.composite
def structured(draw: st.DrawFn) -> bytes:
    """A recipe's values, some of them others, written as YAML."""
    data = draw(changed(yaml.safe_load(draw(st.sampled_from(texts())))))
    flow = draw(st.sampled_from([None, True, False]))
    # Of a lone surrogate no YAML is written.
    return yaml.safe_dump(data, default_flow_style=flow).encode("utf-8", "replace")


@st.composite
def bombs(draw: st.DrawFn) -> bytes:
    """Few bytes that stand for many."""
    kind = draw(st.sampled_from(["aliases", "merges", "nested", "long", "many"]))
    depth, width = draw(st.integers(1, 40)), draw(st.integers(1, 12))
    if kind == "aliases":
        lines = ["a0: &a0 [x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
        return "\n".join(lines).encode()
    if kind == "merges":
        lines = ["a0: &a0 {k: 1}"]
        lines += [
            f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * width)}]\n  k{n}: 1"
            for n in range(1, depth)
        ]
        return "\n".join(lines).encode()
    if kind == "nested":
        opening = draw(st.sampled_from(["[", "{a: ", "- ", "? ", "!!set {", "&a [", "'", "("]))
        return (f"name: {opening * (depth * 200)}").encode()
    if kind == "long":
        return f"name: {draw(st.sampled_from(['9', 'x', '1:', ' ', '#', '!'])) * 100_000}".encode()
    return "".join(f"k{n}: {n}\n" for n in range(depth * 100)).encode()


files = st.one_of(
    edited(),
    edited(),
    structured(),
    bombs(),
    st.sampled_from(texts()).flatmap(lambda text: damaged_bytes(text.encode())),
    st.binary(max_size=60),
    st.dictionaries(st.text(max_size=5), ODD_VALUES, max_size=4).map(
        lambda data: yaml.safe_dump(data).encode("utf-8", "replace")
    ),
)
"""The bytes of a file that is named as a recipe."""

settings = st.lists(
    st.one_of(
        st.builds("{}={}".format, st.sampled_from(dotted_keys()), odd_scalars),
        st.builds("{}={}".format, st.sampled_from(dotted_keys()), odd_scalars),
        st.builds(
            "{}{}={}".format,
            st.sampled_from([*dotted_keys(), "acceptance", "selection.policy", "rules", "a.b.c"]),
            st.sampled_from(["", ".", ".x", " ", "s"]),
            odd_scalars,
        ),
        odd_scalars,
    ),
    min_size=1,
    max_size=3,
)
"""What is given to --set."""
