"""From a card to entries of the catalog: what it states becomes claims, its assets become URLs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from mixnet_core.errors import InputError
from mixnet_core.release.card import Asset, Card, Performance
from mixnet_core.release.catalog import CatalogEntry
from mixnet_core.runs.run_dir import checked_name
from mixnet_core.storage.faults import faults
from mixnet_core.storage.transfer import check_url
from mixnet_core.storage.uris import refuse_credentials, shown

# What can be loaded here of the formats that cards name.
FORMATS = ("ckpt", "safetensors")
_IMAGENET = re.compile(r"imagenet(?:[-_ ]?(?:2012|1k|1000))?", re.IGNORECASE)
_IMAGENET_CLASSES = 1000
_MIXNET = re.compile(r"(?<![a-z])(tf_)?mixnet[-_ ]?(xl|s|m|l)(?![a-z])", re.IGNORECASE)
_DIGITS = (8, 64)


@dataclass(frozen=True)
class CardEntries:
    """Holds what a card gives the catalog.

    Attributes:
        entries: one for each file of weights that can be loaded.
        notes: what of the card was left out or read otherwise than it stands, a line each.
    """

    entries: tuple[CatalogEntry, ...]
    notes: tuple[str, ...] = ()


def card_entries(card: Card, path: Path, name: str | None = None) -> CardEntries:
    """Makes the catalog's entries of a card.

    Args:
        path: of the card's file, for errors, and where a relative link starts.
        name: of the entry; None: the name of the file of weights, without its suffix.

    Raises:
        InputError: it is of no MixNet, or of no file that can be fetched, verified and loaded.
    """
    where = shown(str(path))
    usable = [asset for asset in card.assets if asset.file_format.lower() in FORMATS]
    if not usable:
        formats = ", ".join(asset.file_format or "none" for asset in card.assets) or "no asset"
        raise InputError(
            f"the card {where} names no file that can be loaded ({formats}): expected an asset "
            f"with file-format {' or '.join(FORMATS)}"
        )
    if name is not None and len(usable) > 1:
        raise InputError(f"the card {where} is of {len(usable)} files: leave the name out")
    notes = [
        f"{shown(asset.link) or 'an asset'} is left out: {asset.file_format or 'no format'}"
        for asset in card.assets
        if asset not in usable
    ]
    entries = tuple(_entry(card, asset, path, name, notes) for asset in usable)
    if len({entry.name for entry in entries}) < len(entries):
        raise InputError(f"the card {where} names one file twice: keep one asset of it")
    return CardEntries(entries, tuple(notes))


def _entry(
    card: Card, asset: Asset, path: Path, name: str | None, notes: list[str]
) -> CatalogEntry:
    where = shown(str(path))
    if not asset.link:
        raise InputError(f"the card {where} names an asset without asset-link: add its address")
    url = _url(asset.link, path)
    file = _file(url)
    others = [_file(_url(other.link, path)) for other in card.assets if other.link != asset.link]
    row = _row_of(card.performance, file, others)
    sha256 = _digest(asset.sha256, file, where, notes)
    variant, convention = _network(card, row, file, where)
    top1, top5 = _claims(card, row, len(card.performance), file, notes)
    said: dict[str, Any] = {
        "name": name or _plain(PurePosixPath(file).stem),
        "url": url,
        "sha256": sha256,
        "variant": variant,
        "flavour": card.network.get("flavour") or convention,
        "num_classes": _classes(card, where),
        "in_channels": _number(card.network.get("in-channels", "3")),
        "stem_stride": _number(card.network.get("stem-stride", "2")),
        "recipe": _recipe(row, path),
        "claimed_top1": top1,
        "claimed_top5": top5,
        "source": _source(card),
        "note": f"from the card {path.name}",
    }
    refuse_credentials(said)
    checked_name(said["name"], "release")
    check_url(url)
    try:
        return CatalogEntry(**said)
    except ValidationError as error:
        raise InputError(f"the card {where} makes no entry: {faults(error)}") from None


def _url(link: str, path: Path) -> str:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", link):
        return link
    return (path.absolute().parent / unquote(link)).resolve().as_uri()


def _file(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name


def _row_of(rows: Sequence[Performance], file: str, others: Sequence[str]) -> Performance | None:
    """Finds the row of the table whose weights a file is; the only one is a file's not named there.

    Args:
        others: names of the card's other files.
    """
    named = [row for row in rows if file and file in _named(row)]
    if named:
        return named[0]
    return rows[0] if len(rows) == 1 and not _named(rows[0]) & set(others) else None


def _named(row: Performance) -> set[str]:
    """Returns what a row may call its file: each whole word of the path that it gives."""
    return set(re.split(r"[\s()\[\]<>/?#]+", unquote(row.weight)))


def _digest(stated: str, file: str, where: str, notes: list[str]) -> str:
    letters = stated.lower().strip()
    if re.fullmatch(r"[0-9a-f]+", letters):
        if len(letters) in _DIGITS:
            return letters
        if _DIGITS[0] < len(letters) < _DIGITS[1]:
            notes.append(f"of the digest {letters} the first {_DIGITS[0]} digits are taken")
            return letters[: _DIGITS[0]]
    raise InputError(
        f"the card {where} states {shown(stated) or 'nothing'} as the sha256 of {shown(file)}: "
        f"expected {_DIGITS[0]} or {_DIGITS[1]} hex digits; nothing is fetched of which nobody "
        "said the digest"
    )


def _network(card: Card, row: Performance | None, file: str, where: str) -> tuple[str, str]:
    """Finds which MixNet it is, by the card's own key, else by the names in it."""
    if card.network.get("variant"):
        return card.network["variant"].lower(), "mindcv"
    names = [row.model_name if row else "", card.model_name, file, card.backbone_name]
    for text in names:
        found = _MIXNET.search(text)
        if found:
            return found[2].lower(), "tf" if found[1] else "mindcv"
    raise InputError(
        f"the card {where} is of {shown(card.model_name) or 'a model without a name'}, which is "
        "none of mixnet_s, mixnet_m, mixnet_l and mixnet_xl"
    )


def _claims(
    card: Card, row: Performance | None, rows: int, file: str, notes: list[str]
) -> tuple[float | None, float | None]:
    """Returns top-1 and top-5 in percent: those of the file's row, else of the front matter."""
    if row is None:
        if rows:
            notes.append(f"no row of its table names {shown(file)}: its figures are left out")
            return None, None
        return card.top1, card.top5
    found: list[float | None] = []
    for figure in ("top1", "top5"):
        table, front = getattr(row, figure), getattr(card, figure)
        if rows == 1 and None not in (table, front) and table != front:
            notes.append(
                f"it states two figures of {figure.replace('top', 'top-')}, {front} in its keys "
                f"and {table} in its table: the table's is taken"
            )
        found.append(front if table is None and rows == 1 else table)
    return found[0], found[1]


def _classes(card: Card, where: str) -> int:
    stated = card.network.get("num-classes", "")
    if stated:
        number = _number(stated)
        if isinstance(number, int):
            return number
    elif _IMAGENET.fullmatch(card.train_dataset.strip()):
        return _IMAGENET_CLASSES
    raise InputError(
        f"the card {where} does not say how many classes there are (train-dataset "
        f"{shown(card.train_dataset) or 'is empty'}): add the key num-classes"
    )


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _recipe(row: Performance | None, path: Path) -> str | None:
    """Returns the recipe beside the card that its row links to, as our releases have it."""
    link = re.search(r"\]\(([^)]+\.ya?ml)\)", row.recipe) if row else None
    if link is None or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", link[1]):
        return None
    recipe = path.absolute().parent / unquote(link[1])
    return str(recipe.resolve()) if recipe.is_file() else None


def _source(card: Card) -> str:
    author = card.author or card.user_id or "not named"
    return f"{author}, trained on {card.train_dataset}" if card.train_dataset else author


def _plain(stem: str) -> str:
    """Returns a name of the catalog's for a file, whatever it is called."""
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("._-")[:100]
