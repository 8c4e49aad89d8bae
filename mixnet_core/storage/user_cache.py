"""The folder for what a user's runs share and can rebuild: operators, graphs, exported models."""

from __future__ import annotations

import os
from pathlib import Path

from mixnet_core.errors import MachineError
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import refuse_credentials

VARIABLE = "MIXNET_CACHE"


def cache_folder(kind: str) -> Path:
    """Makes and returns the cache's folder for one kind of files.

    It is `$MIXNET_CACHE/KIND`, else `$XDG_CACHE_HOME/mixnet/KIND`, else `~/.cache/mixnet/KIND`.

    Raises:
        InputError: credentials stand in the variable.
        MachineError: it cannot be made.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    base = os.environ.get(VARIABLE) or f"{cache}/mixnet"
    refuse_credentials(base)
    folder = Path(base).expanduser().absolute() / kind
    try:
        with os_errors_explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except MachineError as error:
        raise MachineError(f"{error} ({VARIABLE} names it)") from error
    return folder
