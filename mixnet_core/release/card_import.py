"""Adds what a card says to the user's catalog, so that its weights are found by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mixnet_core.release.card_entry import card_entries
from mixnet_core.release.card_file import read_card
from mixnet_core.release.catalog import CatalogEntry, load_catalog
from mixnet_core.release.catalog_file import add_entries, own_catalog
from mixnet_core.storage.uris import shown


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
    """Reads a card, ours or the MindSpore model hub's, into the user's catalog.

    Nothing is fetched: the first use of the name fetches the weights and verifies them.

    Args:
        file: of the card.
        name: of the entry; None: the name of its file of weights.

    Raises:
        InputError: no card, no MixNet's, or one without weights that can be loaded and verified.
        ReleaseConflict: the catalog has other weights of this name.
        MachineError: a file cannot be read or written.
    """
    path = Path(file).expanduser()
    found = card_entries(read_card(path), path, name)
    catalog = own_catalog()
    added = add_entries(found.entries, catalog)
    lines = list(found.notes)
    for entry in found.entries:
        lines += [
            f"the catalog has the same weights as {other.name}"
            for other in load_catalog().values()
            if other.name != entry.name and _same_digest(other, entry)
        ]
    for entry in found.entries:
        how = "added to" if entry.name in added else "stands in"
        lines.append(f"{entry.name} {how} {shown(str(catalog))}{_claimed(entry)}")
    return ImportedCard(found.entries, tuple(added), catalog, tuple(lines))


def _same_digest(one: CatalogEntry, other: CatalogEntry) -> bool:
    if one.sha256 is None or other.sha256 is None:
        return False
    return one.sha256[:8] == other.sha256[:8]


def _claimed(entry: CatalogEntry) -> str:
    said = [f"{figure} {100 * share:.2f} %" for figure, share in entry.claims.items()]
    return f"; it claims {', '.join(said)}" if said else "; it claims no figures"
