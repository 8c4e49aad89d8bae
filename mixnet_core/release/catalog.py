"""The catalog: weights that others published, by name; and how a name finds its release."""

from __future__ import annotations

import functools
import logging
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mixnet_core.errors import InputError, MachineError, TransientError
from mixnet_core.kinds.kind import did_you_mean
from mixnet_core.model.variants import FlavourName, VariantName
from mixnet_core.recipe.sections import InChannels, StemStride
from mixnet_core.release.aliases import alias_names, find_alias
from mixnet_core.release.manifest import MANIFEST, PublishedRelease
from mixnet_core.release.registry import read_in, release_names
from mixnet_core.release.retirements import retirement_of
from mixnet_core.runs.run_dir import checked_name
from mixnet_core.storage.faults import faults
from mixnet_core.storage.open import open_object, open_storage
from mixnet_core.storage.storage import Storage
from mixnet_core.storage.transfer import check_url
from mixnet_core.storage.uris import refuse_credentials, shown, shown_words
from mixnet_core.storage.user_cache import cache_folder
from mixnet_core.storage.yaml_files import read_yaml
from mixnet_core.storage.yaml_scalars import text_where_wanted

BUNDLED = Path(__file__).parent / "catalog.yaml"
USER_CATALOG = "MIXNET_CATALOG"
"""Environment variable: path of a YAML file like the bundled one."""
IMPORTED = "imported"
"""Folder of the user's cache: what `mixnet import` made, and a catalog of it."""
CATALOG = "catalog.yaml"

_NEAR = 3

log = logging.getLogger(__name__)

Percent = Annotated[float, Field(ge=0, le=100)]
PerChannel = Annotated[list[float], Field(min_length=3, max_length=3)]


class EntryInput(BaseModel):
    """Says how images are read for an entry, where its recipe says otherwise; as `recipe.Input`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    image_size: Annotated[int, Field(ge=4, le=1024)] | None = None
    crop_pct: Annotated[float, Field(gt=0, le=1)] | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    mean: PerChannel | None = None
    std: PerChannel | None = None


class CatalogEntry(BaseModel):
    """Describes weights at a URL, with what their publisher says of them.

    Attributes:
        name: what finds it; unique in a catalog.
        url: https, file or s3; http only on this machine.
        sha256: hex: the full digest, or its first 8 digits; None: its publisher states none, and
            that of the first fetched file counts (`release.weights`).
        flavour: whose conventions the weights follow.
        in_channels, stem_stride: as in a recipe's network.
        recipe: a bundled recipe's name or a YAML file's path: how images are read for it, and
            which; None: `mixnet_<variant>` for ImageNet's 1,000 classes, `finetune` for others.
        input: over the recipe's.
        classes: names in label order; None: only their number is known.
        claimed_top1, claimed_top5: percent, as the source says: not measured here.
        source: who trained them, on what.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    url: str
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{8}|[0-9a-f]{64})$")] | None
    variant: VariantName
    flavour: FlavourName
    num_classes: Annotated[int, Field(ge=1)]
    in_channels: InChannels = 3
    stem_stride: StemStride = 2
    recipe: str | None = None
    input: EntryInput | None = None
    # Lists are what YAML has.
    classes: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    claimed_top1: Percent | None = None
    claimed_top5: Percent | None = None
    source: str
    note: str = ""

    @property
    def shown_uri(self) -> str:
        """Returns its URL as records, pages and events may say it."""
        return shown(self.url)

    @property
    def input_keys(self) -> dict[str, Any]:
        """Returns the keys of a recipe's input section that it states."""
        return self.input.model_dump(exclude_none=True) if self.input else {}

    @property
    def claims(self) -> dict[str, float]:
        """Returns what its source states: "top-1" or "top-5" -> share in 0..1."""
        percents = {"top-1": self.claimed_top1, "top-5": self.claimed_top5}
        return {figure: value / 100 for figure, value in percents.items() if value is not None}

    @property
    def claimed_on(self) -> str | None:
        """Returns None: an entry does not say which images its claims were counted on."""
        return None


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    releases: list[CatalogEntry]


def load_catalog() -> dict[str, CatalogEntry]:
    """Reads the bundled entries, what was imported, and the file that MIXNET_CATALOG names.

    The user's entry replaces a bundled one of the same name, for instance to say where a mirror is.

    Returns:
        name -> entry.

    Raises:
        InputError: the user's file is missing or not a catalog; every fault is named.
        MachineError: it cannot be read.
    """
    entries = read_catalog(BUNDLED)
    imported, users = imported_catalog(), users_catalog()
    if imported is not None and imported.is_file():
        entries |= read_catalog(imported)
    if users is not None:
        if not users.is_file():
            raise InputError(f"no catalog at {shown(str(users))}: correct or unset {USER_CATALOG}")
        entries |= read_catalog(users)
    return entries


def users_catalog() -> Path | None:
    """Returns the path that MIXNET_CATALOG names; None where it is not set.

    Raises:
        InputError: credentials stand in it.
    """
    users = os.environ.get(USER_CATALOG)
    if not users:
        return None
    refuse_credentials(users)
    return Path(users).expanduser()


def imported_catalog() -> Path | None:
    """Returns the path of the catalog that `mixnet import` writes unless MIXNET_CATALOG is set.

    Returns:
        None where there is no cache, as without a home to write to.

    Raises:
        InputError: credentials stand in the cache's variable.
    """
    try:
        return cache_folder(IMPORTED) / CATALOG
    except MachineError:
        return None


def parse_catalog(data: Any, where: str) -> dict[str, CatalogEntry]:
    """Takes a catalog's document: name -> entry.

    Args:
        where: its file, for errors.

    Raises:
        InputError: it is no catalog; every fault is named.
    """
    found: dict[str, CatalogEntry] = {}
    for entry in _document(data, where).releases:
        try:
            checked_name(entry.name, "release")
            check_url(entry.url)
            refuse_credentials(*entry.model_dump().values())
            _expect_as_many_names(entry)
        except InputError as error:
            raise InputError(f"catalog {where}: {error}") from None
        if entry.name in found:
            raise InputError(f"catalog {where} has two entries named {entry.name!r}: keep one")
        found[entry.name] = entry
    return found


def entry_of(sha256: str) -> CatalogEntry | None:
    """Returns the entry that states this digest, in full hex, of its weights; None: none does.

    Raises:
        MixnetError: as `load_catalog`.
    """
    entries = load_catalog().values()
    return next((e for e in entries if e.sha256 and sha256.startswith(e.sha256)), None)


def find_release(name_or_uri: str, registry: str) -> CatalogEntry | PublishedRelease:
    """Finds what a name or URI stands for: a catalog entry before a published release.

    What is found has a name of its own, which an alias is not: that is what to record. A retired
    release is found, with a warning that says why it is.

    Args:
        name_or_uri: of a catalog entry, of a release or an alias below `registry`, or the URI or
            path of a published release's folder. A published release that has the name of a
            catalog entry is reached by its URI.
        registry: as `storage.open_storage` takes it; not contacted for a catalog entry.

    Raises:
        InputError: nothing has this name; the message holds the near ones.
        IntegrityError: the published release's manifest is broken.
        MachineError, TransientError: `registry` cannot be looked at.
    """
    refuse_credentials(name_or_uri, registry)
    if "/" in name_or_uri:
        storage, name = open_object(name_or_uri)
        return _in_use(storage, read_in(storage, name))
    entries = load_catalog()
    if name_or_uri in entries:
        return entries[name_or_uri]
    checked_name(name_or_uri, "release")
    try:
        published = release_names(registry)
        storage = open_storage(registry)
        known = alias_names(storage)
        is_alias = name_or_uri in known and find_alias(storage, name_or_uri) is not None
    except (MachineError, TransientError) as error:
        near = did_you_mean(name_or_uri, entries, _NEAR)
        raise type(error)(f"no catalog entry {shown(name_or_uri)!r}{near}; {error}") from error
    if name_or_uri in published or is_alias:
        return _in_use(storage, read_in(storage, name_or_uri))
    names = sorted({*entries, *published, *known} - {name_or_uri})
    raise InputError(
        f"no release {shown(name_or_uri)!r}{did_you_mean(name_or_uri, names, _NEAR)}: expected a "
        f"catalog entry ({', '.join(sorted(entries))}), a name published below {shown(registry)}, "
        "or a release's URI"
    )


def resolved_name(name_or_uri: str, registry: str) -> str:
    """Returns what an alias stands for, as `stands_for`; of anything else, what was given.

    Whether there is such a release is not looked at: a run that is done with it needs it no more.

    Raises:
        InputError, IntegrityError: as `publish.read_release`, of an alias.
        MachineError, TransientError: `registry` cannot be looked at.
    """
    if name_or_uri in load_catalog():
        return name_or_uri
    place = name_or_uri if "/" in name_or_uri else f"{open_storage(registry).uri}/{name_or_uri}"
    storage, name = open_object(place)
    try:
        is_alias = name in alias_names(storage) and find_alias(storage, name) is not None
    except MachineError:
        # As of a retirement: who reads a release by its URI need not be allowed to list.
        return name_or_uri
    if not is_alias or storage.exists(f"{name}/{MANIFEST}"):
        return name_or_uri
    return stands_for(name_or_uri, read_in(storage, name)) or name_or_uri


def stands_for(name_or_uri: str, found: PublishedRelease) -> str | None:
    """Returns the name or URI of the release that an alias stands for; None where it is no alias.

    Args:
        found: what `find_release` found for it.
    """
    last = name_or_uri.rstrip("/").rpartition("/")[2]
    if last == found.name or unquote(last) == found.name:
        return None
    return found.uri if "/" in name_or_uri else found.name


def _in_use(storage: Storage, release: PublishedRelease) -> PublishedRelease:
    """Warns of a retired release."""
    try:
        retirement = retirement_of(storage, release)
    except MachineError as error:
        # Who may read a release need not be allowed to list what is beside it.
        log.debug("whether %s is retired is not known: %s", release.name, error)
        return release
    if retirement is not None:
        _say_retired(release.shown_uri, shown_words(retirement.why))
    return release


@functools.cache
def _say_retired(uri: str, why: str) -> None:
    """Says it once: a release is looked up several times in one go."""
    log.warning("release %s is retired (%s): better start from another one", uri, why)


def read_catalog(path: Path) -> dict[str, CatalogEntry]:
    """Reads the entries of one file, by name.

    Raises:
        InputError: it is no catalog; every fault is named.
        MachineError: it cannot be read.
    """
    return parse_catalog(read_yaml(path).value, str(path))


def _expect_as_many_names(entry: CatalogEntry) -> None:
    if entry.classes is not None and len(set(entry.classes)) != entry.num_classes:
        raise InputError(
            f"{entry.name} has {entry.num_classes} classes and names {len(set(entry.classes))}: "
            "name each once, or leave classes out"
        )


def _document(data: Any, where: str) -> _Document:
    try:
        return _Document.model_validate(data)
    except ValidationError as error:
        # A digest of eight digits looks like a number.
        if text_where_wanted(data, error.errors()):
            return _document(data, where)
        raise InputError(f"catalog {where}: {faults(error)}") from None
