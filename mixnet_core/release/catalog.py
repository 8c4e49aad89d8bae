"""The catalog: weights that others published, by name; and how a name finds its release."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mixnet_core.errors import InputError, MachineError, TransientError
from mixnet_core.kinds.kind import did_you_mean
from mixnet_core.model.variants import FlavourName, VariantName
from mixnet_core.recipe.sections import InChannels, StemStride
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.publish import read_release, release_names
from mixnet_core.runs.run_dir import checked_name
from mixnet_core.storage.faults import faults
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.transfer import check_url
from mixnet_core.storage.uris import refuse_credentials, shown
from mixnet_core.storage.yaml_files import read_yaml
from mixnet_core.storage.yaml_scalars import text_where_wanted

BUNDLED = Path(__file__).parent / "catalog.yaml"
USER_CATALOG = "MIXNET_CATALOG"
"""Environment variable: path of a YAML file like the bundled one."""

_NEAR = 3

Percent = Annotated[float, Field(ge=0, le=100)]


class CatalogEntry(BaseModel):
    """Describes weights at a URL, with what their publisher says of them.

    Attributes:
        name: what finds it; unique in a catalog.
        url: https, file or s3; http only on this machine.
        sha256: hex: the full digest, or its first 8 digits.
        flavour: whose conventions the weights follow.
        in_channels, stem_stride: as in a recipe's network.
        recipe: a bundled recipe's name or a YAML file's path: how images are read for it, and
            which; None: `mixnet_<variant>`, for xl `mixnet_l`.
        claimed_top1, claimed_top5: percent, as the source says: not measured here.
        source: who trained them, on what.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    url: str
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{8}|[0-9a-f]{64})$")]
    variant: VariantName
    flavour: FlavourName
    num_classes: Annotated[int, Field(ge=1)]
    in_channels: InChannels = 3
    stem_stride: StemStride = 2
    recipe: str | None = None
    claimed_top1: Percent | None = None
    claimed_top5: Percent | None = None
    source: str
    note: str = ""

    @property
    def shown_uri(self) -> str:
        """Returns its URL as records, pages and events may say it."""
        return shown(self.url)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Returns None: an entry says only how many classes there are."""
        return None

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
    """Reads the bundled entries, then those of the file that MIXNET_CATALOG names.

    The user's entry replaces a bundled one of the same name, for instance to say where a mirror is.

    Returns:
        name -> entry.

    Raises:
        InputError: the user's file is missing or not a catalog; every fault is named.
        MachineError: it cannot be read.
    """
    entries = _read(BUNDLED)
    users = os.environ.get(USER_CATALOG)
    if users:
        refuse_credentials(users)
        path = Path(users).expanduser()
        if not path.is_file():
            raise InputError(f"no catalog at {path}: correct or unset {USER_CATALOG}")
        entries |= _read(path)
    return entries


def entry_of(sha256: str) -> CatalogEntry | None:
    """Returns the entry whose weights have this digest, in full hex; None if there is none.

    Raises:
        MixnetError: as `load_catalog`.
    """
    entries = load_catalog().values()
    return next((entry for entry in entries if sha256.startswith(entry.sha256)), None)


def find_release(name_or_uri: str, registry: str) -> CatalogEntry | PublishedRelease:
    """Finds what a name or URI stands for: a catalog entry before a published release.

    Args:
        name_or_uri: of a catalog entry, of a release below `registry`, or the URI or path of a
            published release's folder. A published release that has the name of a catalog entry is
            reached by its URI.
        registry: as `storage.open_storage` takes it; not contacted for a catalog entry.

    Raises:
        InputError: nothing has this name; the message holds the near ones.
        IntegrityError: the published release's manifest is broken.
        MachineError, TransientError: `registry` cannot be looked at.
    """
    refuse_credentials(name_or_uri, registry)
    if "/" in name_or_uri:
        return read_release(name_or_uri)
    entries = load_catalog()
    if name_or_uri in entries:
        return entries[name_or_uri]
    checked_name(name_or_uri, "release")
    try:
        published = release_names(registry)
    except (MachineError, TransientError) as error:
        near = did_you_mean(name_or_uri, entries, _NEAR)
        raise type(error)(f"no catalog entry {shown(name_or_uri)!r}{near}; {error}") from error
    if name_or_uri in published:
        return read_release(f"{open_storage(registry).uri}/{name_or_uri}")
    names = sorted({*entries, *published})
    raise InputError(
        f"no release {shown(name_or_uri)!r}{did_you_mean(name_or_uri, names, _NEAR)}: expected a "
        f"catalog entry ({', '.join(sorted(entries))}), a name published below {shown(registry)}, "
        "or a release's URI"
    )


def _read(path: Path) -> dict[str, CatalogEntry]:
    entries = _document(read_yaml(path).value, path).releases
    found: dict[str, CatalogEntry] = {}
    for entry in entries:
        try:
            checked_name(entry.name, "release")
            check_url(entry.url)
            refuse_credentials(*entry.model_dump().values())
        except InputError as error:
            raise InputError(f"catalog {path}: {error}") from None
        if entry.name in found:
            raise InputError(f"catalog {path} has two entries named {entry.name!r}: keep one")
        found[entry.name] = entry
    return found


def _document(data: Any, path: Path) -> _Document:
    try:
        return _Document.model_validate(data)
    except ValidationError as error:
        # A digest of eight digits looks like a number.
        if text_where_wanted(data, error.errors()):
            return _document(data, path)
        raise InputError(f"catalog {path}: {faults(error)}") from None
