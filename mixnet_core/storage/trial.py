"""Trying a store out as publishing will use it: before the work, with its own verbs.

What a check asked in another way, a service may answer in another way: it may take an object and
refuse the digest that comes with it, or the condition under which a manifest is made.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from mixnet_core.errors import IntegrityError, MixnetError, TransientError
from mixnet_core.storage.files import ASIDE_PREFIX, os_errors_explained
from mixnet_core.storage.storage import Storage, no_create_if_absent, stored_wrongly


def try_publishing(
    storage: Storage, *, joined_by: str, more: Callable[[str], None] | None = None
) -> None:
    """Looks up, uploads, reads back, creates and deletes small objects under names of its own.

    Args:
        joined_by: what stands in their keys after what they share: a slash, or a letter where
            a folder would be left when all in it is deleted.
        more: tries what only this kind of storage has, under a key that it is given.

    Raises:
        MixnetError: as publishing would. What was written is deleted then too, where that can be.
    """
    # No two checks meet: each would find the other's objects, or miss its own.
    shared = f"{ASIDE_PREFIX}probe-{uuid.uuid4().hex[:12]}{joined_by}"
    uploaded, created = f"{shared}upload", f"{shared}create"
    content = uuid.uuid4().bytes
    sha256 = hashlib.sha256(content).hexdigest()
    storage.exists(created)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "probe"
            with os_errors_explained(path):
                path.write_bytes(content)
            storage.upload(path, uploaded, sha256)
        stored = hashlib.sha256(storage.read(uploaded)).hexdigest()
        if stored != sha256:
            raise stored_wrongly(f"{storage.uri}/{uploaded}", stored, sha256)
        if not storage.create(created, content) and storage.read(created) != content:
            raise IntegrityError(
                f"{storage.uri}/{created} is there with other content, though its name is new: the "
                "store does not keep names apart; choose another registry"
            )
        require_refusal(storage, created, content)
        if more is not None:
            more(f"{shared}more")
    except BaseException:
        # That error is the one to be told.
        with contextlib.suppress(MixnetError):
            _remove(storage, uploaded, created)
        raise
    _remove(storage, uploaded, created)


def require_refusal(storage: Storage, key: str, content: bytes) -> None:
    """Makes sure that a store refuses to create what is there.

    One that does not know the condition may pass over it, and overwrite.

    Args:
        key: of an object that is there.
        content: what it holds already.

    Raises:
        MachineError: it does not refuse.
    """
    if storage.create(key, content):
        raise no_create_if_absent(storage.uri, "it wrote over what was there")


def _remove(storage: Storage, *keys: str) -> None:
    """Deletes each that can be deleted; raises the first error of those that cannot."""
    errors = []
    for key in keys:
        try:
            storage.remove(key)
        except TransientError:
            # Nor would it answer for the others.
            raise
        except MixnetError as error:
            errors.append(error)
    if errors:
        raise errors[0]
