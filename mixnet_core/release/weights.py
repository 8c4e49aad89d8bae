"""Fetching weights: from any source, into a file here whose digest was just verified.

weights/
    mixnet_s-910v2-fe4fcc63.ckpt    named by release and expected digest
    mixnet_s-910v2-fe4fcc63.json    pin: the full digest, where only a prefix or none was published
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from mixnet_core.errors import (
    DigestMismatch,
    InputError,
    IntegrityError,
    MixnetError,
    ReleaseMissing,
)
from mixnet_core.release.catalog import CatalogEntry
from mixnet_core.release.initial import InitialWeights, find_initial
from mixnet_core.release.local_weights import LocalWeights
from mixnet_core.release.manifest import WEIGHTS
from mixnet_core.release.signing import require_signed
from mixnet_core.runs.values import FetchedWeights
from mixnet_core.storage.files import file_aside, os_errors_explained, read_json, sha256_of
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.schemes.file import FileStorage
from mixnet_core.storage.storage import OnBytes
from mixnet_core.storage.transfer import check_served, transfer
from mixnet_core.storage.uris import shown

_FULL = 64

log = logging.getLogger(__name__)


def fetch_weights(
    name: str,
    *,
    cache: Path,
    registry: str,
    on_bytes: OnBytes | None = None,
    attempts: int = 4,
) -> FetchedWeights:
    """Looks initial weights up and fetches them as `fetch_release_weights` does.

    Args:
        name, registry: as `initial.find_initial` takes them.
        cache, on_bytes, attempts: as `fetch_release_weights`.

    Raises:
        InputError: an unknown name or URL.
        IntegrityError: a broken manifest, or a damaged file.
        MixnetError: as `fetch_release_weights`.
    """
    release = find_initial(name, registry)
    return fetch_release_weights(release, cache=cache, on_bytes=on_bytes, attempts=attempts)


def fetch_release_weights(
    release: InitialWeights,
    *,
    cache: Path,
    pins: Path | None = None,
    on_bytes: OnBytes | None = None,
    attempts: int = 4,
) -> FetchedWeights:
    """Fetches the weights of a release unless the cache has them; verifies them in this call.

    A catalog entry that is in the cache needs no network. A cached file that is damaged is fetched
    again. Where only 8 digits of the digest were published, or none, the first file's full digest
    is pinned beside it and later ones must match; a file without any published digest is told with
    a line. A file by its path is copied: what writes it may go on doing so.

    Args:
        cache: folder; made if missing. Several processes may share it.
        pins: folder of the pinned digests, likewise; None: the cache.
        on_bytes: told of progress; its counts start again when an attempt failed.
        attempts: over http(s), in all.

    Raises:
        DigestMismatch: the bytes are not the published ones; nothing of them is kept.
        ReleaseMissing: the file is not there any more.
        IntegrityError: a broken pin; or as `signing.require_signed`.
        MachineError: the cache cannot be written, an untrusted certificate, no credentials.
        TransientError: no complete answer.
    """
    require_signed(release)
    wanted = _wanted(release, cache.absolute(), (pins or cache).absolute(), attempts)
    damage = ""
    if wanted.path.is_file():
        with os_errors_explained(wanted.path, "read"):
            sha256 = sha256_of(wanted.path)
        expected = wanted.expected()
        if sha256.startswith(expected):
            wanted.pin(sha256)
            return FetchedWeights(
                name=wanted.name, path=str(wanted.path), sha256=sha256, reused=True
            )
        damage = f"the cached {wanted.path} is damaged (sha256 {sha256}, expected {expected})"
        log.warning("%s: fetching it again", damage)
    try:
        with file_aside(wanted.path) as aside:
            sha256 = _transferred(wanted, aside, on_bytes)
            _check(sha256, wanted)
            wanted.pin(sha256)
    except MixnetError as error:
        if not damage:
            raise
        raise type(error)(f"{error}; {damage}") from error
    return FetchedWeights(name=wanted.name, path=str(wanted.path), sha256=sha256)


def check_available(release: InitialWeights, *, cache: Path) -> Path | None:
    """Makes sure that weights can be had, without transferring them.

    Returns:
        The file, where it is on this machine already; None: it would be fetched.

    Raises:
        ReleaseMissing: the file is not there any more.
        MixnetError: as `fetch_release_weights`, on what a request for no content tells.
    """
    require_signed(release)
    cache = cache.absolute()
    wanted = _wanted(release, cache, cache, attempts=1)
    if wanted.path.is_file():
        with os_errors_explained(wanted.path, "read"):
            whole = sha256_of(wanted.path).startswith(wanted.expected())
        if whole:
            return wanted.path
    if isinstance(release, LocalWeights):
        return release.path
    try:
        wanted.ask()
    except InputError as error:
        raise ReleaseMissing(str(error)) from error
    return None


@dataclass(frozen=True)
class _Wanted:
    """Describes a file to have, and how to get it.

    Attributes:
        name: of the release.
        path: in the cache.
        pins: folder of the pin.
        published: hex sha256 as published, full or its first 8 digits; "" where none was.
        origin: its URI, as messages show it.
        get: writes the bytes to a path and returns their hex sha256.
        ask: makes sure that they are there, without any of them.
        advice: why the digest is expected, and what to do if the bytes are others.
    """

    name: str
    path: Path
    pins: Path
    published: str
    origin: str
    get: Callable[[Path, OnBytes | None], str]
    ask: Callable[[], None]
    advice: str = "as published; try again later, or correct the entry if it is wrong"

    @property
    def pin_path(self) -> Path:
        """Returns the file that the full digest is pinned in."""
        return self.pins / self.path.with_suffix(".json").name

    def expected(self) -> str:
        """Returns the pinned digest, else the published one.

        Raises:
            IntegrityError: the pin is broken.
        """
        if len(self.published) == _FULL or not self.pin_path.exists():
            return self.published
        return self._pinned()

    def pin(self, sha256: str) -> None:
        """Records the full digest where only a prefix was published; the first to come decides.

        Raises:
            DigestMismatch: another process pinned another file meanwhile.
        """
        if len(self.published) == _FULL:
            return
        text = json.dumps({"name": self.name, "sha256": sha256}, indent=2) + "\n"
        if self.pin_path.exists() or not FileStorage(self.pin_path.parent).create(
            self.pin_path.name, text.encode()
        ):
            _check(sha256, self)
        elif not self.published:
            log.warning(
                "%s is taken as it came: its publisher states no sha256. From now on %s counts, "
                "pinned in %s",
                self.origin,
                sha256,
                self.pin_path,
            )

    def _pinned(self) -> str:
        data = read_json(self.pin_path)
        sha256 = data.get("sha256") if isinstance(data, dict) else None
        if (
            not isinstance(sha256, str)
            or len(sha256) != _FULL
            or not sha256.startswith(self.published)
        ):
            raise IntegrityError(
                f"{self.pin_path} pins no digest that starts with {self.published}: delete it"
            )
        return sha256


def _transferred(wanted: _Wanted, aside: Path, on_bytes: OnBytes | None) -> str:
    try:
        return wanted.get(aside, on_bytes)
    except InputError as error:
        raise ReleaseMissing(str(error)) from error


def _wanted(release: InitialWeights, cache: Path, pins: Path, attempts: int) -> _Wanted:
    if isinstance(release, LocalWeights):
        path, folder = release.path, FileStorage(release.path.parent)
        return _Wanted(
            name=release.name,
            path=cache / f"{path.stem}-{release.sha256[:12]}{release.suffix}",
            pins=pins,
            published=release.sha256,
            origin=shown(str(path)),
            get=lambda aside, on_bytes: folder.download(path.name, aside, on_bytes),
            ask=lambda: None,
            advice="as it was a moment ago: let whatever writes it finish, then try again",
        )
    if isinstance(release, CatalogEntry):
        url = release.url
        suffix = PurePosixPath(urlsplit(url).path).suffix or ".ckpt"
        return _Wanted(
            name=release.name,
            path=cache / f"{release.name}-{(release.sha256 or 'pinned')[:8]}{suffix}",
            pins=pins,
            published=release.sha256 or "",
            origin=shown(url),
            get=lambda aside, on_bytes: transfer(url, aside, attempts=attempts, on_bytes=on_bytes),
            ask=lambda: check_served(url),
        )
    file = release.files[WEIGHTS]
    storage = open_storage(release.uri)

    def ask() -> None:
        if not storage.exists(file.name):
            raise InputError(f"nothing at {release.shown_uri}/{file.name}: publish it again")

    return _Wanted(
        name=release.name,
        # All 12 digits: two stores may each have a release of this name.
        path=cache / f"{release.name}-{file.sha256[:12]}{PurePosixPath(file.name).suffix}",
        pins=pins,
        published=file.sha256,
        origin=f"{release.uri}/{file.name}",
        get=lambda aside, on_bytes: storage.download(file.name, aside, on_bytes),
        ask=ask,
    )


def _check(sha256: str, wanted: _Wanted) -> None:
    expected = wanted.expected()
    if sha256.startswith(expected):
        return
    if expected != wanted.published:
        advice = (
            f"as {wanted.pin_path} pinned it when first fetched; the source has changed: find out "
            "why, and delete the pin only if the new file is right"
        )
    else:
        advice = wanted.advice
    raise DigestMismatch(
        f"{wanted.origin} has sha256 {sha256}, expected {expected}, {advice}; nothing was kept"
    )
