"""Adds entries to the user's catalog: the file that MIXNET_CATALOG names, else one in the cache."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mixnet_core.errors import InputError, ReleaseConflict
from mixnet_core.release.catalog import (
    BUNDLED,
    USER_CATALOG,
    CatalogEntry,
    imported_catalog,
    parse_catalog,
    read_catalog,
    users_catalog,
)
from mixnet_core.storage.files import os_errors_explained, write_text
from mixnet_core.storage.uris import shown
from mixnet_core.storage.yaml_files import dump_yaml, parse_yaml

_HEAD = "# Written by `mixnet import`: an entry for each file of weights that it was told of.\n"


def own_catalog() -> Path:
    """Returns the path of the catalog that entries are added to; the file need not be there.

    Raises:
        InputError: there is no cache to keep one in.
    """
    catalog = users_catalog() or imported_catalog()
    if catalog is None:
        raise InputError(f"there is no cache to keep a catalog in: name one ({USER_CATALOG})")
    return catalog.absolute()


def add_entries(entries: Sequence[CatalogEntry], catalog: Path) -> list[str]:
    """Adds entries behind those that a catalog has; what people wrote in it stays.

    Args:
        catalog: path of the file; made if it is missing.

    Returns:
        The names of those that were not there already.

    Raises:
        ReleaseConflict: other weights have the name of one; nothing was added.
        InputError: the catalog is no catalog, or written in a way that nothing can be added to.
        MachineError: it cannot be read or written.
    """
    where = shown(str(catalog))
    with os_errors_explained(catalog.parent):
        catalog.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(catalog):
        with os_errors_explained(catalog, "read"):
            content = catalog.read_bytes() if catalog.is_file() else b""
        before = parse_catalog(parse_yaml(content, where).value, where) if content.strip() else {}
        known = _others() | before
        new = [entry for entry in entries if not _is_known(entry, known.get(entry.name))]
        if new:
            wanted = before | {entry.name: entry for entry in new}
            write_text(catalog, _joined(content, new, wanted, where))
    return [entry.name for entry in new]


def _others() -> dict[str, CatalogEntry]:
    """Returns what the bundled catalog and the imported one have."""
    imported = imported_catalog()
    found = read_catalog(BUNDLED)
    return found | read_catalog(imported) if imported and imported.is_file() else found


def _is_known(entry: CatalogEntry, known: CatalogEntry | None) -> bool:
    if known is None:
        return False
    if known.sha256 == entry.sha256 and known.flavour == entry.flavour:
        return True
    raise ReleaseConflict(
        f"{entry.name} is the name of other weights in the catalog ({shown(known.url)}): give "
        "these another one, --name NAME, or remove that entry"
    )


@contextmanager
def _one_at_a_time(catalog: Path) -> Iterator[None]:
    """Keeps others from writing the catalog between its reading and its writing."""
    path = catalog.with_name(f".{catalog.name}.lock")
    with os_errors_explained(path), path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _joined(
    content: bytes, new: Sequence[CatalogEntry], wanted: dict[str, CatalogEntry], where: str
) -> str:
    """Returns a catalog's text with entries more: as a new document, or in its list.

    Raises:
        InputError: it is written in another way.
    """
    keys = [
        entry.model_dump(mode="json", exclude_none=True, exclude_defaults=True) for entry in new
    ]
    items = dump_yaml({"releases": keys})
    try:
        head = (content or _HEAD.encode()).decode("utf-8")
    except UnicodeDecodeError:
        head = ""
    rows = items.removeprefix("releases:\n")
    head = head if head.endswith("\n") else f"{head}\n"
    # As far in as the first item that people wrote.
    first = next((line for line in head.splitlines() if line.lstrip().startswith("- ")), "")
    indent = first[: len(first) - len(first.lstrip())]
    indented = "".join(f"{indent}{line}\n" for line in rows.splitlines())
    for candidate in (head + items, head + indented):
        try:
            if parse_catalog(parse_yaml(candidate, where).value, where) == wanted:
                return candidate
        except InputError:
            continue
    raise InputError(
        f"cannot add to {where} as it is written: add this to its releases: "
        f"{' '.join(rows.split())}"
    )
