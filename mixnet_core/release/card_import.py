"""Adds what a card says to the user's catalog, so that its weights are found by name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mixnet_core.errors import InputError
from mixnet_core.release.card_entry import card_entries
from mixnet_core.release.card_file import read_card
from mixnet_core.release.catalog import BUNDLED, USER_CATALOG, CatalogEntry, read_catalog
from mixnet_core.storage.files import write_text
from mixnet_core.storage.uris import refuse_credentials, shown
from mixnet_core.storage.yaml_files import dump_yaml


@dataclass(frozen=True)
class ImportedCard:
    """Says what came of a card.

    Attributes:
        entries: as the catalog has them now.
        added: names of those that it had not before, or had otherwise.
        catalog: the file that they stand in.
        lines: for people.
    """

    entries: tuple[CatalogEntry, ...]
    added: tuple[str, ...]
    catalog: Path
    lines: tuple[str, ...]


def import_card(file: Path | str, *, name: str | None = None) -> ImportedCard:
    """Reads a card, ours or the MindSpore model hub's, into the catalog that MIXNET_CATALOG names.

    Nothing is fetched: the first use of the name fetches the weights and verifies them.

    Args:
        file: of the card.
        name: of the entry; None: the name of its file of weights.

    Raises:
        InputError: no card, no MixNet's, or one without weights that can be loaded and verified;
            MIXNET_CATALOG is not set; the catalog has another entry of this name.
        MachineError: a file cannot be read or written.
    """
    path = Path(file).expanduser()
    found = card_entries(read_card(path), path, name)
    catalog = _catalog()
    known = read_catalog(catalog) if catalog.is_file() else {}
    every = read_catalog(BUNDLED) | known
    added: list[CatalogEntry] = []
    lines = list(found.notes)
    for entry in found.entries:
        same = known.get(entry.name)
        if same is not None and same != entry:
            raise InputError(
                f"{shown(str(catalog))} has another entry named {entry.name}: give the card's "
                "another name, or delete the old one"
            )
        others = [
            other.name
            for other in every.values()
            if other.name != entry.name and other.sha256[:8] == entry.sha256[:8]
        ]
        lines += [f"the catalog has the same weights as {other}" for other in others]
        if same is None:
            added.append(entry)
    if added:
        _append(catalog, added)
    for entry in found.entries:
        how = "added to" if entry in added else "stands in"
        lines.append(f"{entry.name} {how} {shown(str(catalog))}{_claimed(entry)}")
    return ImportedCard(found.entries, tuple(entry.name for entry in added), catalog, tuple(lines))


def _catalog() -> Path:
    users = os.environ.get(USER_CATALOG)
    if not users:
        raise InputError(
            f"no catalog of yours to add the card to: set {USER_CATALOG} to a file, as in "
            f"export {USER_CATALOG}=$HOME/mixnet-catalog.yaml; it is made if it is missing"
        )
    refuse_credentials(users)
    return Path(users).expanduser().absolute()


def _append(catalog: Path, entries: list[CatalogEntry]) -> None:
    """Adds entries at the end of the file, so that what people wrote in it stays.

    A file that is written otherwise than one item a line is written anew, with the same entries.
    """
    old = catalog.read_text(encoding="utf-8-sig") if catalog.is_file() else "releases:\n"
    data = [entry.model_dump(mode="json", exclude_defaults=True) for entry in entries]
    if not old.strip():
        old = "releases:\n"
    indent = next(
        (
            line[: len(line) - len(line.lstrip())]
            for line in old.splitlines()
            if line.lstrip().startswith("- ")
        ),
        "  ",
    )
    items = "".join(f"{indent}{line}\n" for line in dump_yaml(data).splitlines())
    wanted = [*(_plain(old) or []), *data]
    text = f"{old.rstrip()}\n{items}"
    if _plain(text) != wanted:
        text = dump_yaml({"releases": wanted})
    write_text(catalog, text)


def _plain(text: str) -> list[Any] | None:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    releases = found.get("releases") if isinstance(found, dict) else None
    return list(releases) if isinstance(releases, list) else None


def _claimed(entry: CatalogEntry) -> str:
    said = [f"{figure} {100 * share:.2f} %" for figure, share in entry.claims.items()]
    return f"; it claims {', '.join(said)}" if said else "; it claims no figures"
