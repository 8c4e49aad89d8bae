"""One verified download."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mixnet_core.data.idx import decompressed
from mixnet_core.errors import (
    DatasetError,
    DigestMismatch,
    InputError,
    MachineError,
    TransientError,
)
from mixnet_core.storage.files import file_aside
from mixnet_core.storage.transfer import check_served, transfer
from mixnet_core.storage.uris import shown

Fetch = Callable[[str, Path, str], None]
"""(url, target, sha256 of the decompressed content), as `download`."""

# The waits between them add up to a quarter of a minute, unless the server asks for longer ones.
_ATTEMPTS = 5
_FIX = "set data.path to a folder that has the files"


def download(url: str, target: Path, sha256: str) -> None:
    """Writes the gzip file at `url` to `target` if its decompressed content has the given digest.

    Network failures are tried again; see `storage.transfer` for TLS and proxies. To be verified the
    file is held in memory.

    Args:
        url: as `storage.transfer.check_url` takes it.
        target: path of the file, which is written aside first.
        sha256: hex, of the decompressed content.

    Raises:
        TransientError: no complete answer came.
        DatasetError: the server refuses this address.
        DigestMismatch: the content is another one; nothing is left at `target`.
        MachineError: the server's certificate is not trusted, `target` cannot be written.
    """
    with file_aside(target) as aside:
        with _remedy_added():
            transfer(url, aside, attempts=_ATTEMPTS)
        _verify(url, aside.read_bytes(), sha256)


def check_reachable(url: str) -> None:
    """Asks once whether the server would deliver `url`.

    Raises:
        TransientError, DatasetError, MachineError: as `download`.
    """
    with _remedy_added():
        check_served(url)


@contextmanager
def _remedy_added() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise DatasetError(f"{error}; or {_FIX}") from error
    except (MachineError, TransientError) as error:
        raise type(error)(f"{error}; or {_FIX}") from error


def _verify(url: str, content: bytes, sha256: str) -> None:
    try:
        actual = hashlib.sha256(decompressed(content, url)).hexdigest()
    except DatasetError:
        actual = "of no gzip file"
    if actual != sha256:
        raise DigestMismatch(
            f"{shown(url)} has content sha256 {actual}, expected {sha256}; nothing was kept: {_FIX}"
        )
