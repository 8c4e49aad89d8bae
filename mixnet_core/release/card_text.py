"""A card as the Markdown file that the MindSpore model hub takes.

The hub's checker (mindspore-ai/hub, `mindspore_hub/_utils/check.py`) wants two lines of `---` in
the file and no more, and no colon in a value but in those of repo-link, asset and evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from mixnet_core.release.card import (
    NETWORK_KEYS,
    PERFORMANCE,
    REQUIREMENTS,
    Asset,
    Card,
    Performance,
    Requirement,
)

FENCE = "---"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s<>\"`]+", re.IGNORECASE)
# Whoever shows the file as Markdown takes the front matter for prose.
_MARKUP = frozenset("<[`")


def card_text(card: Card) -> str:
    """Writes a card; what it does not say stays empty."""
    return (
        f"# {card.title or card.model_name}\n\n{FENCE}\n\n{_front(card)}\n{FENCE}\n\n{body(card)}"
    )


def body(card: Card) -> str:
    """Writes what follows the front matter."""
    tables = {
        "requirements": requirements_table(card.requirements),
        "performance": performance_table(card.performance),
    }
    parts = [tables[part.table] if part.table else part.text for part in card.body]
    return "\n\n".join(part for part in parts if part) + "\n"


def requirements_table(rows: Sequence[Requirement]) -> str:
    """Returns the table of versions, its columns centred; "" without rows."""
    cells = [[getattr(row, field) for field in REQUIREMENTS.values()] for row in rows]
    return _table(list(REQUIREMENTS), cells, centred=True) if rows else ""


def performance_table(rows: Sequence[Performance]) -> str:
    """Returns the table of figures; "" without rows."""
    cells = [[_cell(field, getattr(row, field)) for field in PERFORMANCE.values()] for row in rows]
    return _table(list(PERFORMANCE), cells) if rows else ""


def evaluation(card: Card) -> str:
    """Returns the figures of the front matter, "" where it states none."""
    figures = (("top1acc", card.top1), ("top5acc", card.top5))
    return " | ".join(f"{name}{_percent(value)}" for name, value in figures if value is not None)


def _front(card: Card) -> str:
    values: list[tuple[str, str]] = [
        ("model-name", scalar(card.model_name)),
        ("backbone-name", scalar(card.backbone_name)),
        ("module-type", scalar(card.module_type)),
        ("fine-tunable", "" if card.fine_tunable is None else str(card.fine_tunable)),
        ("model-version", scalar(card.model_version)),
        ("train-dataset", scalar(card.train_dataset)),
        ("evaluation", evaluation(card)),
        ("author", scalar(card.author)),
        ("update-time", scalar(card.update_time)),
        ("repo-link", _link(card.repo_link)),
        ("user-id", scalar(card.user_id)),
        ("used-for", scalar(card.used_for)),
        ("mindspore-version", scalar(card.mindspore_version)),
        ("asset", f"\n\n{_assets(card.assets)}" if card.assets else ""),
        ("license", scalar(card.license)),
        ("summary", scalar(card.summary)),
        *((key, scalar(card.network[key])) for key in NETWORK_KEYS if key in card.network),
    ]
    return (
        "".join(
            f"{key}:{'' if value.startswith(chr(10)) or not value else ' '}{value}\n\n"
            for key, value in values
        ).rstrip("\n")
        + "\n"
    )


def scalar(text: str) -> str:
    """Returns a text as YAML reads it back: as it is, else in quotes.

    What YAML takes for a number or a date stays as it is where the hub's own cards have it so, as
    in `model-version: 2.5`: whoever reads a card takes the letters (`card_file`).
    """
    if not text:
        return ""
    try:
        plain: Any = yaml.safe_load(f"key: {text}")
    except yaml.YAMLError:
        plain = None
    value = plain.get("key") if isinstance(plain, dict) and len(plain) == 1 else None
    if isinstance(value, str):
        kept = value == text
    else:
        # Numbers and dates of few letters; a digest as 12345e67 would be infinite.
        kept = value is not None and _same_letters(value, text)
    if kept and not set(text) & {"#", *_MARKUP}:
        return text
    dumped: str = yaml.safe_dump(
        text, default_style='"', allow_unicode=True, width=1 << 20, explicit_end=False
    )
    return "".join(f"\\x{ord(mark):02x}" if mark in _MARKUP else mark for mark in dumped.strip())


def _same_letters(value: object, text: str) -> bool:
    return not isinstance(value, dict | list) and str(value) == text


def _assets(assets: Sequence[Asset]) -> str:
    return "\n".join(
        f"- file-format: {scalar(asset.file_format)}\n"
        f"  asset-link: {_link(asset.link)}\n"
        f"  asset-sha256: {scalar(asset.sha256)}"
        for asset in assets
    )


def _link(link: str) -> str:
    # A name in brackets is a tag to Markdown, and vanishes.
    return f"<{link}>" if _ADDRESS.fullmatch(link) else scalar(link)


def _cell(field: str, value: str | float | int | None) -> str:
    if value is None:
        return ""
    if field == "graph_compile":
        return f"{value:.0f}s"
    if field in ("top1", "top5"):
        return _percent(float(value))
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _percent(value: float) -> str:
    """Returns a figure as the hub's cards have it; a small one would be read as a share."""
    text = f"{value:.2f}"
    return text if float(text) > 1 else f"{text}%"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, centred: bool = False) -> str:
    """Returns a table of cells that are Markdown already, its columns padded to one width."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(5 if centred else 3, *map(len, column)) for column in columns]

    def padded(cell: str, width: int) -> str:
        left = (width - len(cell)) // 2 if centred else 0
        return " " * left + cell + " " * (width - len(cell) - left)

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(map(padded, cells, widths))} |"

    dashes = [f":{'-' * (width - 2)}:" if centred else "-" * width for width in widths]
    return "\n".join([line(header), f"| {' | '.join(dashes)} |", *map(line, rows)])
