"""A prepared dataset in a store, from which other hosts fetch shards instead of decoding images.

    prepared.json       written last: which folder is the dataset, and what is in it
    <digits>/           the files of the dataset (`data.index`), named by what they are

Whoever finds `prepared.json` finds all of it. Two hosts that write at once write two folders, and
the first that ends is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mixnet_core.data.index import read_manifest
from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.processes.requests import PackedDataset
from mixnet_core.runs.values import PreparedCopy, PreparedDataset
from mixnet_core.storage.faults import faults
from mixnet_core.storage.files import fingerprint, os_errors_explained, sha256_of
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.storage import OnBytes, Storage
from mixnet_core.storage.uris import shown

ENTRY = "prepared.json"
_FORMAT = 1
_DIGITS = 16
_FOLDER = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")


class CopiedFile(BaseModel):
    """Describes a file: hex sha256 and size in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    bytes: int


class Entry(BaseModel):
    """Says what a copy holds.

    Attributes:
        folder: the name of the folder that has it.
        fingerprint: the dataset's.
        settings: how its splits were cut (`data.prepare`).
        classes: names in label order.
        files: by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    folder: str
    fingerprint: str
    settings: dict[str, Any]
    classes: tuple[str, ...]
    files: dict[str, CopiedFile]

    def is_as(self, other: Entry) -> bool:
        """Tells whether two name the same images in the same splits; their shards may differ."""
        return (self.fingerprint, self.settings) == (other.fingerprint, other.settings)


def write_copy(dataset: PreparedDataset, uri: str, on_bytes: OnBytes | None = None) -> PreparedCopy:
    """Writes the shards of a dataset to a store; what is there already is left alone.

    Args:
        uri: of a folder or a prefix, of which nothing but the dataset is.
        on_bytes: told of progress.

    Raises:
        InputError: the dataset has no shards, another one or something else is there, or no storage
            is named.
        IntegrityError: the store keeps something else than it was given.
        MachineError, TransientError: the store cannot be written.
    """
    root = Path(dataset.root)
    manifest = read_manifest(root)
    _expect_shards(manifest["layout"])
    storage = open_storage(uri)
    _expect_nothing_else(storage)
    # What took hours to prepare is refused before the digests of it are computed once more.
    before = read_entry(storage)
    entry = _entry_of(root, manifest, dataset)
    if before is not None and before != entry:
        _expect_same(before, entry, storage.uri)
        _expect_whole(storage, before)
        return _copy(storage, before, reused=True)
    total, done, sent = sum(file.bytes for file in entry.files.values()), 0, False
    for name, file in entry.files.items():
        if on_bytes is not None:
            on_bytes(done, total)
        key = f"{entry.folder}/{name}"
        sent |= storage.upload(root / name, key, file.sha256, _shifted(on_bytes, done, total))
        done += file.bytes
    content = (entry.model_dump_json(indent=2) + "\n").encode()
    if not storage.create(ENTRY, content):
        named = read_entry(storage)
        assert named is not None
        _expect_same(named, entry, storage.uri)
        return _copy(storage, named, reused=not sent)
    return _copy(storage, entry, reused=False)


def expect_copyable(layout: str, uri: str) -> None:
    """Makes sure that a copy can be written, before the work for it.

    Raises:
        InputError: the layout has no shards, no storage is named, or something else is there.
        MachineError, TransientError: the store cannot be written.
    """
    _expect_shards(layout)
    storage = open_storage(uri)
    _expect_nothing_else(storage)
    storage.check_writable()


def read_entry(storage: Storage) -> Entry | None:
    """Reads what a store's place says of its dataset; None: there is none, or not yet.

    Raises:
        IntegrityError: it says nothing that is known.
        MixnetError: as `Storage.read`.
    """
    if not storage.exists(ENTRY):
        return None
    return parse_entry(storage.read(ENTRY), f"{storage.uri}/{ENTRY}")


def parse_entry(content: bytes, where: str) -> Entry:
    """Returns what `prepared.json` says.

    Raises:
        IntegrityError: it says nothing that is known.
    """
    try:
        entry = Entry.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(
            f"{shown(where)} names no prepared dataset ({faults(error)}): remove it and write the "
            "dataset again with `mixnet prepare --to`"
        ) from error
    names = (entry.folder, *entry.files)
    if entry.format != _FORMAT or any("/" in name or name in ("", ".", "..") for name in names):
        raise IntegrityError(
            f"{shown(where)} has format {entry.format} or names that are none, expected format "
            f"{_FORMAT}: use the version of mixnet that wrote it"
        )
    return entry


def folder_name(digests: Mapping[str, str]) -> str:
    """Returns what the folder of a dataset is called, by the hex sha256 of each of its files."""
    return fingerprint(dict(digests))[:_DIGITS]


def _expect_nothing_else(storage: Storage) -> None:
    """Refuses a place of other things: images that got a `prepared.json` would be none any more."""
    for name in storage.names():
        plain = name.removesuffix("/")
        if plain != ENTRY and plain[:1] != "." and not _FOLDER.fullmatch(plain):
            raise InputError(
                f"{shown(storage.uri)} has something else than a prepared dataset, "
                f"{shown(plain)!r}: name a new folder or prefix"
            )


def _expect_shards(layout: str) -> None:
    if layout != "mindrecord":
        raise InputError(
            f"--to writes shards, and data.layout is {layout}: give --set data.layout=mindrecord "
            "too, or copy the folder with a tool of the store"
        )


def _entry_of(root: Path, manifest: dict[str, Any], dataset: PreparedDataset) -> Entry:
    packed = PackedDataset.model_validate({"shards": manifest["shards"]})
    known = {shard.file: shard.sha256 for some in packed.shards.values() for shard in some}
    with os_errors_explained(root, "read"):
        names = sorted(
            path.name for path in root.iterdir() if path.is_file() and path.name[:1] != "."
        )
        files = {
            name: CopiedFile(
                sha256=known.get(name) or sha256_of(root / name), bytes=(root / name).stat().st_size
            )
            for name in names
        }
    digests = {name: file.sha256 for name, file in files.items()}
    return Entry(
        format=_FORMAT,
        folder=folder_name(digests),
        fingerprint=dataset.fingerprint,
        settings=manifest["settings"],
        classes=dataset.classes,
        files=files,
    )


def _expect_same(found: Entry, entry: Entry, uri: str) -> None:
    if not found.is_as(entry):
        raise InputError(
            f"{shown(uri)} has another dataset, of fingerprint {found.fingerprint[:12]}, than this "
            f"one of {entry.fingerprint[:12]}, or it was cut otherwise: choose another prefix"
        )


def _expect_whole(storage: Storage, entry: Entry) -> None:
    there = {item.key: item.bytes for item in storage.listed(entry.folder)}
    for name, file in entry.files.items():
        if there.get(f"{entry.folder}/{name}") != file.bytes:
            raise IntegrityError(
                f"{shown(storage.uri)} lacks {name} of the dataset that its {ENTRY} names: remove "
                f"{ENTRY} and write the dataset again"
            )


def _copy(storage: Storage, entry: Entry, *, reused: bool) -> PreparedCopy:
    return PreparedCopy(
        uri=shown(storage.uri),
        fingerprint=entry.fingerprint,
        bytes=sum(file.bytes for file in entry.files.values()),
        reused=reused,
    )


def _shifted(on_bytes: OnBytes | None, before: int, total: int) -> OnBytes | None:
    """Tells of one file's progress as of all files'."""
    if on_bytes is None:
        return None
    return lambda done, _: on_bytes(before + done, total)
