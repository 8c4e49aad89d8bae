"""Publishing a release all at once or not at all.

Files go first, under names that carry their digest, so two publishers never overwrite each other's;
the manifest that makes them a release goes last, by create-if-absent. What a crash or a lost race
leaves is files that no manifest names: nobody sees them, and publishing the same again uses them.
Whoever ends it on purpose wants none of it: what this publisher stored is taken back then.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mixnet_core.errors import (
    InputError,
    MachineError,
    ReleaseConflict,
    TransientError,
)
from mixnet_core.release import aliases, deletion_marks
from mixnet_core.release.manifest import (
    MANIFEST,
    Manifest,
    PublishedRelease,
    ReleasedFile,
    manifest_bytes,
    manifest_of,
)
from mixnet_core.release.registry import NO_RELEASES, read_published
from mixnet_core.release.unnamed import remove_unnamed
from mixnet_core.release.views import write_views
from mixnet_core.runs.values import Release
from mixnet_core.storage.files import fingerprint
from mixnet_core.storage.in_time import done_in_time
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.storage import OnBytes, Storage, stored_wrongly
from mixnet_core.storage.trial import require_refusal

_AT_ONCE = 4
_LOOKS = 3
# To take back what was stored: whoever ended it waits for that.
_SECONDS_TO_END = 10.0
# Of such files it is the requests that take time, not the bytes.
_SMALL_BYTES = 16 << 20

log = logging.getLogger(__name__)


def publish_release(
    name: str,
    *,
    registry: str,
    files: dict[str, Path],
    facts: dict[str, Any],
    single_writer: bool = False,
    on_bytes: OnBytes | None = None,
) -> Release:
    """Makes a release, or confirms that it is there and whole.

    Args:
        name: the folder in the registry.
        registry: where releases are, as `storage.open_storage` takes it.
        files: role -> local file; "weights" is required.
        facts: JSON values; with the digests of the files they decide what "the same release" means.
        single_writer: whether nobody else publishes there: then also to a store that does not
            refuse to overwrite.
        on_bytes: told, in this thread, how much of all files is there.

    Returns:
        `reused` is True where this very release stood there; missing or damaged files of it have
        then been put right.

    Raises:
        ReleaseConflict: another release has this name. Nothing of it was touched.
        InputError: an unusable name, one that is an alias, an unusable role or target, a missing
            file.
        IntegrityError: a file changed meanwhile or was stored wrongly, or the manifest is broken.
        MachineError: the store does not refuse to overwrite; and as `storage.Storage`.
        TransientError: as `storage.Storage`.
    """
    manifest = manifest_of(name, files, facts)
    content = manifest_bytes(manifest)
    storage = open_storage(registry, single_writer=single_writer)
    if name in NO_RELEASES:
        raise InputError(f"{name!r} is a folder of the registry's own: publish under another name")
    aliases.refuse_alias(storage, name)
    exists = storage.exists(f"{name}/{MANIFEST}")
    if exists:
        _check_same(read_published(storage, name), manifest)
    with _taken_back_if_ended(storage, manifest) as stored:
        for file in _upload(storage, manifest, files, stored, reread=exists, on_bytes=on_bytes):
            if exists:
                log.warning(
                    "%s/%s/%s was missing or damaged: put right", storage.uri, name, file.name
                )
        if not exists:
            _require_refusal(storage, manifest, files)
            # Of what another publisher had stored, who has taken it back since.
            _upload_missing(storage, manifest, files)
    # Not above: a store carries out what it was asked for after whoever asked has given up.
    if not exists and not storage.create(f"{name}/{MANIFEST}", content):
        exists = True
        _check_same(read_published(storage, name), manifest)
    _put_right(storage, manifest, files)
    write_views(storage, name, manifest)
    return Release(
        name=name,
        uri=f"{storage.uri}/{name}",
        files={role: file.name for role, file in manifest.files.items()},
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        reused=exists,
    )


@contextmanager
def _taken_back_if_ended(storage: Storage, manifest: Manifest) -> Iterator[set[str]]:
    """Removes what was stored in the block, if that is ended by Ctrl-C, SIGTERM or a cancel.

    After an error it stays: publishing is tried again.

    Yields:
        A set for the names of files that the block stored, and nobody else did.
    """
    stored: set[str] = set()
    try:
        yield stored
    except Exception:
        raise
    except BaseException:
        if stored:
            what = f"what was stored of {manifest.name}"
            done_in_time(partial(_take_back, storage, manifest.name, stored), what, _SECONDS_TO_END)
        raise


def _take_back(storage: Storage, name: str, stored: set[str]) -> None:
    """Removes files that were stored for a release; none, if by now it is one."""
    with deletion_marks.marked(storage, name):
        remove_unnamed(storage, name, sorted(stored))


def _upload_missing(storage: Storage, manifest: Manifest, files: dict[str, Path]) -> set[str]:
    """Uploads again what was taken from a folder; returns the names that were in it before."""
    there = set(storage.names(manifest.name))
    for role, file in manifest.files.items():
        if file.name not in there:
            storage.upload(files[role], f"{manifest.name}/{file.name}", file.sha256)
    return there


def _upload(
    storage: Storage,
    manifest: Manifest,
    files: dict[str, Path],
    stored: set[str],
    *,
    reread: bool,
    on_bytes: OnBytes | None,
) -> list[ReleasedFile]:
    """Uploads a release's files: small ones several at a time, then large ones in parts of theirs.

    Args:
        stored: gets the names of those that were not there.
        reread: as `storage.Storage.upload`.

    Returns:
        Those of which anything was transferred.

    Raises:
        MixnetError: of the first in the manifest's order that failed.
    """
    total, done = sum(file.bytes for file in manifest.files.values()), 0
    transferred = []

    def upload(role: str, on_bytes: OnBytes | None = None) -> bool:
        file = manifest.files[role]
        key = f"{manifest.name}/{file.name}"
        was_transferred = storage.upload(files[role], key, file.sha256, on_bytes, reread=reread)
        if was_transferred:
            stored.add(file.name)
        return was_transferred

    def finish(role: str, was_transferred: bool) -> None:
        nonlocal done
        file = manifest.files[role]
        if was_transferred:
            transferred.append(file)
        done += file.bytes
        if on_bytes is not None:
            on_bytes(done, total)

    def tell(part: int, _: int | None) -> None:
        if on_bytes is not None:
            on_bytes(done + part, total)

    small = [role for role, file in manifest.files.items() if file.bytes <= _SMALL_BYTES]
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="publish")
    try:
        for role, was_transferred in zip(small, pool.map(upload, small), strict=True):
            finish(role, was_transferred)
    finally:
        pool.shutdown(cancel_futures=True)
    for role in manifest.files:
        if role not in small:
            finish(role, upload(role, tell))
    return transferred


def _put_right(storage: Storage, manifest: Manifest, files: dict[str, Path]) -> None:
    """Uploads again what a deletion of files under this name took after they were found there.

    Raises:
        TransientError: the release itself was deleted.
        MixnetError: as `storage.Storage`.
    """
    name = manifest.name
    if not deletion_marks.wait_for_deletions(storage, name):
        log.warning("%s/%s is being deleted: publish it again once that ended", storage.uri, name)
    there = _upload_missing(storage, manifest, files)
    if MANIFEST not in there and not storage.exists(f"{name}/{MANIFEST}"):
        raise TransientError(
            f"release {name} was deleted at {storage.uri} while it was published: publish it again"
        )


def _require_refusal(storage: Storage, manifest: Manifest, files: dict[str, Path]) -> None:
    """Makes sure that the store refuses to overwrite, on the smallest of what it was just given.

    A manifest that is only thought to be made under that condition would be a release already.
    """
    role, file = min(manifest.files.items(), key=lambda item: item[1].bytes)
    key = f"{manifest.name}/{file.name}"
    for left in reversed(range(_LOOKS)):
        try:
            content = storage.read(key)
            sha256 = hashlib.sha256(content).hexdigest()
            if sha256 != file.sha256:
                raise stored_wrongly(f"{storage.uri}/{key}", sha256, file.sha256)
            require_refusal(storage, key, content)
            return
        except (InputError, MachineError):
            # Whoever deletes or collects there may have taken it a moment ago: a store that does
            # not refuse does so again.
            if not left:
                raise
            storage.upload(files[role], key, file.sha256)


def _check_same(published: PublishedRelease, ours: Manifest) -> None:
    if manifest_bytes(published) == manifest_bytes(ours):
        return
    differing = [
        role
        for role in sorted(published.files.keys() | ours.files.keys())
        if published.files.get(role) != ours.files.get(role)
    ]
    differing += [
        f"facts.{key}"
        for key in sorted(published.facts.keys() | ours.facts.keys())
        if _as_text(published.facts, key) != _as_text(ours.facts, key)
    ]
    raise ReleaseConflict(
        f"another release named {ours.name!r} is published at {published.uri} (it differs in "
        f"{', '.join(differing)}): publish under another name; what is published never changes"
    )


def _as_text(facts: dict[str, Any], key: str) -> str:
    """Returns a fact as the document has it: 1, 1.0 and True are equal in Python only."""
    return fingerprint(facts[key]) if key in facts else ""
