"""A release's files under plain names, for whoever looks into its folder with another tool.

    README.md       card-<12 hex>.md
    README.hf.md    card_hf-<12 hex>.md
    config.json     config-<12 hex>.json

They are written after the manifest, from the files that it names, and are no part of it: one that
is missing, changed, or of an interrupted publisher is put right by publishing again.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

from mixnet_core.release.manifest import Manifest, ReleasedFile
from mixnet_core.storage.storage import Storage, stored_wrongly

VIEWS = {"README.md": "card", "README.hf.md": "card_hf", "config.json": "config"}
"""Plain name -> role."""

log = logging.getLogger(__name__)


def views_of(manifest: Manifest) -> dict[str, ReleasedFile]:
    """Returns the plain names that a release has, each with the file that it shows."""
    return {plain: manifest.files[role] for plain, role in VIEWS.items() if role in manifest.files}


def write_views(storage: Storage, name: str, manifest: Manifest) -> None:
    """Writes a published release's views; what is there already and right is left alone.

    Args:
        storage: the registry.
        name: of the release.

    Raises:
        IntegrityError: a file is not stored as its manifest says.
        MachineError, TransientError: as `storage.Storage`.
    """
    for plain, file in views_of(manifest).items():
        content = storage.read(f"{name}/{file.name}")
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != file.sha256:
            raise stored_wrongly(f"{storage.uri}/{name}/{file.name}", sha256, file.sha256)
        with TemporaryDirectory() as folder:
            path = Path(folder) / plain
            path.write_bytes(content)
            storage.upload(path, f"{name}/{plain}", file.sha256)
