"""A dataset that was prepared already: what `mixnet prepare --to` wrote, or a folder of datasets/.

Its images were decoded and its splits cut then; the recipe has to say the same of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixnet_core.data.download import Fetch
from mixnet_core.data.index import SPLITS, open_prepared, read_manifest
from mixnet_core.data.prepared_copy import ENTRY, Entry, folder_name, parse_entry, read_entry
from mixnet_core.data.source import Claim, DataSource, Source, Stated
from mixnet_core.errors import DatasetError, IntegrityError
from mixnet_core.recipe.sections import Data
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.uris import shown

_SAID = ("val_share", "train_limit", "select_share", "split_seed")
_WRITE_AGAIN = "remove the copy, and write it again with `mixnet prepare --to`"
_FILES = ("manifest.json", "classes.txt", "val.csv")


class Prepared(DataSource):
    """Opens what `mixnet prepare` left, here or in a store; nothing of it is made anew."""

    needs_path = True
    # It may be of files that stayed where they were.
    are_files = True

    def claim(self, folder: Path, *, expected: bool) -> Claim:
        """Claims a prepared dataset's own files."""
        named = (folder / ENTRY).is_file() or all((folder / name).is_file() for name in _FILES)
        return Claim.ITS_OWN if named else Claim.NO

    def classes(self, data: Data) -> tuple[str, ...]:
        """Returns the dataset's classes.

        Raises:
            DatasetError, IntegrityError, MachineError: as `ready`.
        """
        entry = _entry(Path(data.path or ""))
        return entry.classes if entry else _stated(_root(data.path)).classes

    def settings(self, folder: Path) -> dict[str, Any]:
        """Returns how the dataset was cut, which a recipe has to say."""
        entry = _entry(folder)
        settings = entry.settings if entry else read_manifest(folder)["settings"]
        return {
            f"data.{key}": value
            for key, value in settings.items()
            # A share that was not needed says nothing.
            if key in (*_SAID, "layout") and (value is not None or key == "train_limit")
        }

    def stored_at(self, uri: str) -> str:
        """Returns the folder that `prepared.json` names.

        Raises:
            DatasetError: there is none, or not yet.
            IntegrityError: it says nothing that is known.
        """
        storage = open_storage(uri)
        entry = read_entry(storage)
        if entry is None:
            raise DatasetError(
                f"{shown(uri)} has no {ENTRY}: expected what `mixnet prepare --to` wrote to the end"
            )
        return f"{storage.uri}/{entry.folder}"

    def expect_digests(self, folder: Path, digests: Mapping[str, str]) -> None:
        """Compares the shards with what their dataset says of them, and all files with its name.

        Raises:
            IntegrityError: the store handed out something else.
        """
        shards = [
            shard for some in read_manifest(folder).get("shards", {}).values() for shard in some
        ]
        for shard in shards:
            found, said = digests.get(shard["file"], "nothing"), str(shard.get("sha256", "nothing"))
            if found != said:
                raise IntegrityError(
                    f"{folder}/{shard['file']} has sha256 {found[:12]}, its dataset says "
                    f"{said[:12]}: {_WRITE_AGAIN}"
                )
        files = {name: sha256 for name, sha256 in digests.items() if name[:1] != "."}
        if folder_name(files) != folder.name:
            raise IntegrityError(
                f"{folder} has other files than were written there: {_WRITE_AGAIN}"
            )

    def stated(self, data: Data) -> Stated:
        """Returns what the dataset's manifest says; whether its images are there is not looked at.

        Raises:
            DatasetError, IntegrityError, MachineError: as `ready`.
        """
        return _expected(data, _root(data.path))

    def ready(self, data: Data) -> PreparedDataset:
        """Opens the dataset, as `data.index.open_prepared`.

        Raises:
            DatasetError: there is none, or it was cut otherwise than the section says.
            IntegrityError: it is another one than `prepared.json` names, or as `open_prepared`.
            MachineError: as `open_prepared`.
        """
        root = _root(data.path)
        _expected(data, root)
        dataset, entry = open_prepared(root), _entry(Path(data.path or "").expanduser())
        named = (dataset.fingerprint, dataset.classes)
        if entry is not None and named != (entry.fingerprint, entry.classes):
            raise IntegrityError(
                f"{root} has another dataset, of fingerprint {dataset.fingerprint[:12]}, than the "
                f"{ENTRY} beside it names, of {entry.fingerprint[:12]}: {_WRITE_AGAIN}"
            )
        return dataset

    def open(self, data: Data, datasets: Path, fetch: Fetch) -> Source:
        """Refuses: its images are prepared, and not to be prepared again.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(
            f"{self.described(data)} is prepared already: name the folder of its images to prepare "
            "them otherwise"
        )


SOURCE = Prepared()


def _expected(data: Data, root: Path) -> Stated:
    """Makes sure that the section says of the splits what they are.

    Raises:
        DatasetError: it does not.
    """
    cut: dict[str, Any] = read_manifest(root)["settings"]
    for key, value in cut.items():
        # How its images are kept is the dataset's own matter.
        if key not in _SAID or (value is None and key != "train_limit"):
            continue
        if (said := getattr(data, key)) != value:
            raise DatasetError(
                f"data.{key} is {said}, {root} was prepared with {value}: give --set "
                f"data.{key}={'null' if value is None else value}, or prepare the images again"
            )
    return _stated(root)


def _stated(root: Path) -> Stated:
    manifest = read_manifest(root)
    by_split = manifest["counts"]
    counts = {split: sum(by_split[split].values()) for split in SPLITS if split in by_split}
    # Its val split lies there, and is not cut again: whoever names the dataset means that one.
    return Stated(tuple(manifest["classes"]), counts, own_val=True)


def _entry(folder: Path) -> Entry | None:
    path = folder / ENTRY
    if not path.is_file():
        return None
    with os_errors_explained(path, "read"):
        return parse_entry(path.read_bytes(), str(path))


def _root(path: str | None) -> Path:
    folder = Path(path or "").expanduser()
    entry = _entry(folder)
    return folder / entry.folder if entry else folder
