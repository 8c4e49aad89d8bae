"""Command lines as people type, paste and script them. None of them begins a training.

Whatever works on a recipe's images is given a folder that is missing, at the end, where the last
one counts; the plain operators, so that nothing is compiled; and no weights, which would be asked
for in the network.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import typer
from hypothesis import strategies as st

from mixnet_core.cli.app import app
from tests.fuzz.recipes import dotted_keys, odd_scalars

# What stands in the folder that a command is called in.
FILES = {
    "empty": b"",
    "text.txt": b"three of them\n",
    "recipe.yaml": b"name: mine\n",
    "broken.yaml": b"a: [",
    "mindcv.yaml": b"model: mixnet_s\nlr: no\n",
    "weights.ckpt": b"\x0a\x05abc",
    "weights.safetensors": b"\x08\0\0\0\0\0\0\0{}      ",
    "torch.pth": b"PK\x03\x04" + bytes(30),
    "model.onnx": b"\x08\x07",
    "classes.txt": b"ant\nbee\n",
    "images.tar": bytes(1024),
    "folder/1.jpg": b"\xff\xd8\xff",
    "images/train/ant/1.jpg": b"",
    "images/train/bee/1.jpg": b"text",
    "lists/train.csv": b"path,label\n1.jpg,0\n",
    "workspace/runs/mine/recipe.yaml": b"name: mine\n",
    "workspace/runs/gone/x": b"",
    "releases/mine/manifest.json": b"{}",
    "releases/revalidations/2026-01.jsonl": b"{\n",
}
MISSING = "no-such-images"
_STAGES = {"run", "prepare", "fetch", "train", "select", "validate", "accept", "publish", "check"}
_NOT_RUN = [
    "--set", "devices.operators=plain", "--set", "weights.name=null", "--data", MISSING
]  # fmt: skip
# None leads out of the folder to where something could be written.
_ODD = (
    "", " ", "-", "--", "-x", "--x", "--x=", "=", "a=b", ".", "~", "~nobody", "*", "$HOME", "\n",
    "a\nb", "\x07", "\x1b[31m", "\udcff", "\U0001f426", "\u202ea", "x" * 5_000, "0", "-1", "1",
    "1e3", "1e400", "nan", "inf", "9" * 400, "9" * 5_000, "1_0", "\u0663", "true", "null", "None",
    "[", "{}", "%s", "{0}", "file://", "file:///dev/null", "file://x", "file:///dev/null/x", "s3:",
    "s3://", "s3:/x", "s3://A_B/x", "s3://KEY:SECRET@bucket", "gs://x/y", "http:", "https://",
    "https:///x", "ftp://x/y", "digits", "mixnet_x", "mine", "gone", "releases", "workspace",
    "/dev/null", "/dev/null/x", "/proc/self/mem", "x" * 300, *FILES, "images", "lists", "folder",
)  # fmt: skip
_values = st.one_of(
    st.sampled_from(_ODD),
    st.sampled_from(_ODD),
    st.text(st.characters(blacklist_characters="\0/.~"), max_size=5),
)
_settings = st.builds("{}={}".format, st.sampled_from(dotted_keys()), odd_scalars).filter(
    lambda text: "\0" not in text
)
# A name of the catalog or a web address would be asked for in the network.
_RECIPES = ("digits", "mixnet_s", "recipe.yaml", "broken.yaml", "mindcv.yaml", "x")


@functools.cache
def commands() -> dict[tuple[str, ...], tuple[tuple[str, bool], ...]]:
    """Words of a command -> its options, each with whether it takes a value."""
    return dict(_commands(typer.main.get_command(app), ()))


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*words, *name.split()))
    if not hasattr(command, "commands"):
        options = [
            (option, not getattr(parameter, "is_flag", False))
            for parameter in command.params
            for option in getattr(parameter, "opts", ())
            if option.startswith("-")
        ]
        yield words, tuple(options)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """Arguments of `mixnet`."""
    if draw(st.integers(0, 12)) == 0:
        return draw(st.lists(_values, max_size=3))
    words = draw(st.sampled_from(sorted(commands())))
    options = commands()[words]
    arguments: list[str] = []
    for _ in range(draw(st.integers(0, 4))):
        arguments += draw(_one(words, options))
    if draw(st.integers(0, 2)) == 0:
        arguments.append("--json")
    if words[0] in _STAGES and words != ("prepare", "imagenet"):
        arguments += _NOT_RUN
    return [*words, *arguments]


def _one(
    words: tuple[str, ...], options: tuple[tuple[str, bool], ...]
) -> st.SearchStrategy[list[str]]:
    """An option with its value, or something that stands alone."""
    with_value = [option for option, takes in options if takes]
    alone = [option for option, takes in options if not takes]
    valued = st.sampled_from(with_value or ["--x"]).flatmap(
        lambda option: st.one_of(
            _value_of(option).map(lambda value: [option, value]),
            _value_of(option).map(lambda value: [f"{option}={value}"]),
        )
    )
    return st.one_of(
        valued,
        valued,
        st.sampled_from(alone or ["--help"]).map(lambda option: [option]),
        st.sampled_from(_RECIPES).map(lambda name: [name]),
        _values.map(lambda value: [value]),
        st.sampled_from(["--help", "--version", "--jsn", "--dta", "-q", "-h"]).map(lambda o: [o]),
    )


def _value_of(option: str) -> st.SearchStrategy[str]:
    return st.one_of(_settings, _values) if option == "--set" else _values
