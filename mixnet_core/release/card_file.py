"""Reads a card: ours, or one of the MindSpore model hub.

The hub's front matter is read by lines, not as YAML: to YAML the version 2.10 is the number 2.1, a
digest as 12345e67 is infinite, and `evaluation: -` and `accuracy: vit-base: 81.5`, which cards of
the hub have, are errors. A value is its letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mixnet_core.errors import InputError
from mixnet_core.release.card import (
    NETWORK_KEYS,
    PERFORMANCE,
    REQUIREMENTS,
    Asset,
    Card,
    Part,
    Performance,
    Requirement,
)
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import refuse_credentials, shown

# The longest of the hub's has 40,000.
MOST_BYTES = 1 << 20
EXPECTED = "expected Markdown with the keys model-name and asset between two lines of ---"

_FENCE = re.compile(r"-{3,}[ \t]*")
_KEY = re.compile(r"([A-Za-z][\w-]*)[ \t]*:(?:[ \t]+(.*))?")
_ITEM_KEY = re.compile(r"[ \t]*(-)?[ \t]*(?:([A-Za-z][\w-]*)[ \t]*:(?:[ \t]+(.*))?)?")
_SAYS_NOTHING = frozenset({"", "-", "--", "~", "null", "none", "n/a", "na", "no"})
_FIELDS = {
    "model-name": "model_name",
    "backbone-name": "backbone_name",
    "module-type": "module_type",
    "model-version": "model_version",
    "train-dataset": "train_dataset",
    "author": "author",
    "update-time": "update_time",
    "user-id": "user_id",
    "used-for": "used_for",
    "mindspore-version": "mindspore_version",
    "license": "license",
    "summary": "summary",
}
_ASSET = {"file-format": "file_format", "asset-link": "link", "asset-sha256": "sha256"}
# "75,58" is no 75: who writes a comma there is not understood.
_FIGURE = r"(\d+(?:\.\d+)?)(?!,?\d)[ \t]*(%?)"
# "top1acc75.58", "top-1 acc: 75.58 %", "acc@1 75.58"; of "acc75.58" alone the first is meant. An
# error is no accuracy.
_TOP = re.compile(rf"(?:top[-_ @]?|acc@)([15])(?!\d)(?:(?!err)[^\d|,;])*?{_FIGURE}", re.IGNORECASE)
_ACC = re.compile(rf"^[ \t]*acc(?:uracy)?[^\d|]*?{_FIGURE}", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\d.,])\d+(?:,\d{3})*(?:\.\d+)?(?!,?\d)")
# What a heading may be called elsewhere -> as it is called here.
_OTHERWISE = {
    "cann": "cann toolkit/kernel",
    "cann toolkit": "cann toolkit/kernel",
    "driver": "ascend driver",
    "model": "model name",
    "params (m)": "params(m)",
    "params": "params(m)",
    "top-1 (%)": "acc@top1",
    "top-5 (%)": "acc@top5",
    "weights": "weight",
    "image size": "resolution",
}


def read_card(path: Path) -> Card:
    """Reads a card from a file.

    Raises:
        InputError: there is none, or it is no card.
        MachineError: it cannot be read.
    """
    refuse_credentials(str(path))
    if not path.is_file():
        raise InputError(f"no card at {shown(str(path))}: check the path")
    with os_errors_explained(path, "read"):
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(
                f"{shown(str(path))} has {size:,} bytes, a card has a few thousand: {EXPECTED}"
            )
        content = path.read_bytes()
    return parse_card(content, str(path))


def parse_card(content: bytes, where: str) -> Card:
    """Reads a card from its bytes.

    Args:
        where: what is named in errors.

    Raises:
        InputError: it is no card.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{shown(where)} is no text in UTF-8: {EXPECTED}") from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    fences = [number for number, line in enumerate(lines) if _FENCE.fullmatch(line)][:2]
    if len(fences) < 2:
        raise InputError(f"{shown(where)} is no model card: {EXPECTED}")
    above, front, below = lines[: fences[0]], lines[fences[0] + 1 : fences[1]], lines[fences[1] :]
    values, assets = _front(front)
    if not values.get("model-name") and not assets:
        raise InputError(f"{shown(where)} is no model card: {EXPECTED}")
    top1, top5 = figures(values.get("evaluation", "") or values.get("accuracy", ""))
    requirements, performance, parts = _body(below[1:])
    title = next((line for line in above if line.strip()), "")
    return Card(
        title=title.lstrip("#").strip(),
        **{field: values[key] for key, field in _FIELDS.items() if key in values},
        fine_tunable=_yes_or_no(values.get("fine-tunable", "")),
        top1=top1,
        top5=top5,
        repo_link=_link(values.get("repo-link", "")),
        assets=assets,
        network={key: values[key] for key in NETWORK_KEYS if values.get(key)},
        requirements=requirements,
        performance=performance,
        body=parts,
    )


def figures(text: str) -> tuple[float | None, float | None]:
    """Returns top-1 and top-5 in percent of a text as "top1acc75.58 | top5acc95.54".

    Figures up to 1 without a % are shares, where none of them is more. What is beyond 100 is no
    figure.
    """
    found = {rank: (number, sign) for rank, number, sign in _TOP.findall(text)}
    alone = None if found else _ACC.match(text)
    if alone:
        found["1"] = (alone[1], alone[2])
    return _percents(found.get("1"), found.get("5"))


def _percents(
    top1: tuple[str, str] | None, top5: tuple[str, str] | None
) -> tuple[float | None, float | None]:
    """Returns figures of one network in percent; each is given as its number and its sign."""
    stated = [figure for figure in (top1, top5) if figure is not None]
    are_shares = all(float(n) <= 1 and "." in n and not sign for n, sign in stated)

    def percent(figure: tuple[str, str] | None) -> float | None:
        if figure is None:
            return None
        value = float(figure[0])
        value = round(100 * value, 10) if are_shares else value
        return value if value <= 100 else None

    return percent(top1), percent(top5)


def _front(lines: Sequence[str]) -> tuple[dict[str, str], tuple[Asset, ...]]:
    values: dict[str, str] = {}
    assets: list[dict[str, str]] = []
    in_assets = False
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        top = _KEY.fullmatch(line.rstrip())
        if top:
            in_assets = top[1].lower() == "asset"
            # The first: who writes a key twice has added to a card, at its end.
            values.setdefault(top[1].lower(), _value(top[2]))
        elif in_assets:
            _add_to_assets(assets, line.rstrip())
    return values, tuple(Asset(**asset) for asset in assets if asset)


def _add_to_assets(assets: list[dict[str, str]], line: str) -> None:
    item = _ITEM_KEY.fullmatch(line)
    if item is None:
        return
    if item[1] or not assets:
        assets.append({})
    field = _ASSET.get((item[2] or "").lower())
    if field:
        value = _value(item[3])
        assets[-1].setdefault(field, _link(value) if field == "link" else value)


def _value(text: str | None) -> str:
    """Returns a value's letters, without the quotes that YAML knows."""
    text = (text or "").strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        try:
            text = str(yaml.safe_load(text))
        except yaml.YAMLError:
            text = text[1:-1]
    return "" if text.lower() in _SAYS_NOTHING else " ".join(text.split())


def _link(text: str) -> str:
    """Returns an address without what Markdown puts around one."""
    named = re.fullmatch(r"\[[^\]]*\]\((.+)\)", text)
    return (named[1] if named else text).strip().removeprefix("<").removesuffix(">").strip()


def _yes_or_no(text: str) -> bool | None:
    return {"true": True, "yes": True, "false": False}.get(text.lower())


def _body(
    lines: Sequence[str],
) -> tuple[tuple[Requirement, ...], tuple[Performance, ...], tuple[Part, ...]]:
    """Cuts the body into prose and the two tables, of each the first."""
    requirements: tuple[Requirement, ...] = ()
    performance: tuple[Performance, ...] = ()
    parts: list[Part] = []
    for block, is_table in _blocks(lines):
        rows = _rows(block) if is_table else []
        if rows and not performance and _is_of(rows[0], PERFORMANCE, "model name", "acc@top1"):
            performance = tuple(Performance(**_typed(row)) for row in _dicts(rows, PERFORMANCE))
            parts.append(Part(table="performance"))
        elif rows and not requirements and _is_of(rows[0], REQUIREMENTS, "mindspore"):
            requirements = tuple(Requirement(**row) for row in _dicts(rows, REQUIREMENTS))
            parts.append(Part(table="requirements"))
        elif text := "\n".join(block).strip("\n"):
            parts.append(Part(text=text))
    return requirements, performance, tuple(parts)


def _blocks(lines: Sequence[str]) -> Iterator[tuple[list[str], bool]]:
    """Yields runs of lines, and of each whether it is a table; a fence of code is no table."""
    block: list[str] = []
    table = code = False
    for line in lines:
        if line.lstrip().startswith(("```", "~~~")):
            code = not code
        is_row = not code and line.lstrip().startswith("|")
        if is_row != table and block:
            yield block, table
            block = []
        table = is_row
        block.append(line)
    if block:
        yield block, table


def _rows(block: Sequence[str]) -> list[list[str]]:
    """Returns a table's cells, without the row of dashes; [] if it has none."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", _within(line.strip()))] for line in block
    ]
    if len(rows) < 3 or not all(re.fullmatch(r":?-+:?", cell) for cell in rows[1]):
        return []
    return [rows[0], *rows[2:]]


def _within(row: str) -> str:
    """Returns a row without the bars at its ends; the cell at either may be empty."""
    row = row.removeprefix("|")
    return row[:-1] if row.endswith("|") and not row.endswith("\\|") else row


def _is_of(header: Sequence[str], columns: Mapping[str, str], *needed: str) -> bool:
    found = {_heading(cell) for cell in header}
    return set(needed) <= found <= {name.lower() for name in columns}


def _heading(cell: str) -> str:
    name = " ".join(cell.replace("*", "").lower().split())
    return _OTHERWISE.get(name, name)


def _dicts(rows: Sequence[Sequence[str]], columns: Mapping[str, str]) -> Iterator[dict[str, str]]:
    fields = {name.lower(): field for name, field in columns.items()}
    header = [fields[_heading(cell)] for cell in rows[0]]
    for row in rows[1:]:
        # A row that lacks cells has none at its end.
        yield dict(zip(header, row, strict=False))


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    text = {"model_name", "resolution", "jit_level", "recipe", "weight"}
    whole = {"cards", "batch_size"}
    found: dict[str, Any] = {}
    figures: dict[str, tuple[str, str] | None] = {}
    for field, cell in row.items():
        if field in text:
            found[field] = cell.strip("*") if field == "model_name" else cell
            continue
        number = _NUMBER.search(cell)
        value = None if number is None else float(number[0].replace(",", ""))
        if value is not None and field in whole:
            found[field] = int(value)
        elif field in ("top1", "top5"):
            figures[field] = number and (number[0].replace(",", ""), "%" if "%" in cell else "")
        else:
            found[field] = value
    found["top1"], found["top5"] = _percents(figures.get("top1"), figures.get("top5"))
    return found
