"""How a release stands in its registry: since when, under which aliases, retired or not."""

from __future__ import annotations

import logging
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.release.aliases import Alias, alias_names, find_alias
from mixnet_core.release.manifest import BESIDE, MANIFEST, PublishedRelease, parse_manifest
from mixnet_core.release.registry import NO_RELEASES
from mixnet_core.release.retirements import noted_names, retirement_of
from mixnet_core.runs.run_dir import is_name
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.storage import Storage

# Reading waits for the store most of the time.
_AT_ONCE = 16
_UNREADABLE = "its record cannot be read"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """Describes a release and what a registry says of it.

    Attributes:
        modified: when its manifest was written: seconds since 1970 by the store's clock.
        aliases: that stand for it, by name.
        retired: why it is; None where it is not.
        beside: which of `manifest.BESIDE` are there.
    """

    release: PublishedRelease
    modified: float
    aliases: tuple[str, ...]
    retired: str | None
    beside: tuple[str, ...]

    @property
    def date(self) -> str:
        """Returns when it was published, in UTC, ISO 8601 to the second."""
        return datetime.fromtimestamp(self.modified, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def standings(registry: str) -> list[Standing]:
    """Reads the releases of a registry and how each stands, by name.

    A broken manifest is left out, with a warning, as `publish.list_releases` leaves it out.

    Raises:
        MixnetError: as `storage.Storage`.
    """
    storage = open_storage(registry)
    names: dict[str, float] = {}
    beside: dict[str, list[str]] = defaultdict(list)
    for item in storage.listed():
        name, _, file = item.key.partition("/")
        if not is_name(name) or name in NO_RELEASES:
            continue
        if file == MANIFEST:
            names[name] = item.modified
        elif file in BESIDE:
            beside[name].append(file)
    aliases, noted = _readable_aliases(storage), set(noted_names(storage))

    def stands(name: str) -> Standing | None:
        try:
            release = parse_manifest(storage.read(f"{name}/{MANIFEST}"), f"{storage.uri}/{name}")
        except (IntegrityError, InputError) as error:
            log.warning("release passed over: %s", error)
            return None
        return Standing(
            release,
            names[name],
            _naming(aliases, release),
            _retired(storage, release) if name in noted else None,
            tuple(sorted(beside[name])),
        )

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [found for found in pool.map(stands, sorted(names)) if found is not None]


def standing(release: PublishedRelease, storage: Storage) -> Standing:
    """Reads how one release stands.

    Raises:
        MixnetError: as `storage.Storage`.
    """
    items = {item.key.partition("/")[2]: item for item in storage.listed(release.name)}
    return Standing(
        release,
        items[MANIFEST].modified if MANIFEST in items else 0.0,
        _naming(_readable_aliases(storage), release),
        _retired(storage, release),
        tuple(name for name in BESIDE if name in items),
    )


def _retired(storage: Storage, release: PublishedRelease) -> str | None:
    """Returns why a release is retired; a record that cannot be read hides none, and is no yes."""
    try:
        retirement = retirement_of(storage, release)
    except IntegrityError as error:
        log.warning("whether %s is retired cannot be read: %s", release.name, error)
        return _UNREADABLE
    return retirement.why if retirement else None


def _readable_aliases(storage: Storage) -> list[Alias]:
    """Returns the aliases; one whose record is broken hides no release."""
    found = []
    for name in alias_names(storage):
        try:
            alias = find_alias(storage, name)
        except IntegrityError as error:
            log.warning("alias passed over: %s", error)
            continue
        if alias is not None:
            found.append(alias)
    return found


def _naming(aliases: list[Alias], release: PublishedRelease) -> tuple[str, ...]:
    return tuple(
        alias.alias
        for alias in aliases
        if (alias.release, alias.manifest_sha256) == (release.name, release.manifest_sha256)
    )
