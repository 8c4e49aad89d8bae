"""Promoting a release to an alias, retiring it, and taking either back: who may be named so."""

from __future__ import annotations

import logging

from mixnet_core.errors import InputError
from mixnet_core.kinds.kind import did_you_mean
from mixnet_core.release.aliases import (
    Alias,
    alias_names,
    all_aliases,
    find_alias,
    remove_alias,
    set_alias,
)
from mixnet_core.release.catalog import load_catalog
from mixnet_core.release.manifest import MANIFEST, PublishedRelease
from mixnet_core.release.registry import NO_RELEASES, read_in, release_names
from mixnet_core.release.retirements import note, retirement_of
from mixnet_core.runs.run_dir import checked_name
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.storage import Storage
from mixnet_core.storage.uris import refuse_credentials, shown

log = logging.getLogger(__name__)


def promote(alias: str, name: str, registry: str, *, single_writer: bool = False) -> bool:
    """Makes an alias stand for a release of the same registry.

    Args:
        name: of the release, or of another alias, which stands for one.

    Returns:
        Whether it did not before.

    Raises:
        InputError: the alias has the name of a release, of a catalog entry or of a folder of the
            registry; there is no such release, or it is retired.
        MixnetError: as `aliases.set_alias`.
    """
    refuse_credentials(alias, name, registry)
    checked_name(alias, "alias")
    storage = open_storage(registry, single_writer=single_writer)
    taken = {
        "a catalog entry": alias in load_catalog(),
        "a folder of the registry's own": alias in NO_RELEASES,
        f"a release at {shown(storage.uri)}": storage.exists(f"{alias}/{MANIFEST}"),
    }
    for what, is_so in taken.items():
        if is_so:
            raise InputError(f"{alias!r} is {what}: choose another alias")
    release = published(storage, name)
    retirement = retirement_of(storage, release)
    if retirement is not None:
        raise InputError(
            f"release {release.name} is retired ({retirement.why}): name another one, or take that "
            f"back with `mixnet release retire {release.name} --remove --why TEXT`"
        )
    return set_alias(storage, alias, release)


def demote(alias: str, registry: str, *, single_writer: bool = False) -> Alias:
    """Removes an alias; its history stays.

    Returns:
        What it stood for.

    Raises:
        InputError: there is none.
        MixnetError: as `aliases.remove_alias`.
    """
    refuse_credentials(alias, registry)
    storage = open_storage(registry, single_writer=single_writer)
    removed = remove_alias(storage, alias)
    if removed is None:
        raise no_alias(storage, alias)
    return removed


def retire(name: str, registry: str, *, why: str, single_writer: bool = False) -> bool:
    """Says that a release is not to be used any more; it stays where it is.

    Returns:
        Whether that was not said before.

    Raises:
        InputError: there is no such release, or the reason is unusable.
        MixnetError: as `retirements.note`.
    """
    storage = open_storage(registry, single_writer=single_writer)
    release = published(storage, name)
    for alias in all_aliases(storage):
        if alias.release == release.name:
            log.warning(
                "alias %s still stands for %s: set it to another", alias.alias, release.name
            )
    return note(storage, release, "retired", why)


def bring_back(name: str, registry: str, *, why: str, single_writer: bool = False) -> None:
    """Says that a retired release may be used again.

    Raises:
        InputError: there is no such release, it is not retired, or the reason is unusable.
        MixnetError: as `retirements.note`.
    """
    storage = open_storage(registry, single_writer=single_writer)
    release = published(storage, name)
    if retirement_of(storage, release) is None:
        raise InputError(f"release {release.name} is not retired: there is nothing to take back")
    note(storage, release, "returned", why)


def published(storage: Storage, name: str) -> PublishedRelease:
    """Reads the release of a registry that a name or an alias stands for.

    Raises:
        InputError: there is none; the message holds the near ones.
        MixnetError: as `publish.read_release`.
    """
    refuse_credentials(name)
    checked_name(name, "release")
    if not storage.exists(f"{name}/{MANIFEST}") and find_alias(storage, name) is None:
        names = [*release_names(storage.uri), *alias_names(storage)]
        raise InputError(
            f"no release {shown(name)!r} at {shown(storage.uri)}{did_you_mean(name, names, 3)}: "
            "`mixnet releases` lists them"
        )
    return read_in(storage, name)


def no_alias(storage: Storage, alias: str) -> InputError:
    """Returns what to raise of a name that is no alias."""
    names = [item.alias for item in all_aliases(storage)]
    known = f"expected one of {', '.join(names)}" if names else "there are no aliases yet"
    return InputError(f"no alias {shown(alias)!r} at {shown(storage.uri)}: {known}")
