"""The catalog: weights that others published, by name; and how a name finds its release."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mixnet_core.errors import InputError, MachineError, TransientError
from mixnet_core.model.variants import FlavourName, VariantName
from mixnet_core.recipe.sections import InChannels, StemStride
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.publish import read_release, release_names
from mixnet_core.runs.run_dir import checked_name
from mixnet_core.storage.files import read_yaml
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.transfer import check_url
from mixnet_core.storage.uris import refuse_credentials, shown, shown_key

BUNDLED = Path(__file__).parent / "catalog.yaml"
USER_CATALOG = "MIXNET_CATALOG"
"""Environment variable: path of a YAML file like the bundled one."""

Percent = Annotated[float, Field(ge=0, le=100)]


class CatalogEntry(BaseModel):
    """Weights at a URL, with what their publisher says of them.

    Attributes:
        url: https, file or s3; http only on this machine.
        sha256: hex: the full digest, or its first 8 digits.
        flavour: whose conventions the weights follow.
        in_channels, stem_stride: as in a recipe's network.
        recipe: a bundled recipe's name or a YAML file's path: how images are read for it, and
            which; None: `mixnet_<variant>`.
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


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    releases: list[CatalogEntry]


def load_catalog() -> dict[str, CatalogEntry]:
    """Name -> entry: the bundled ones, then those of the file that MIXNET_CATALOG names.

    The user's entry replaces a bundled one of the same name, to say where a mirror is for instance.

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


def find_release(name_or_uri: str, registry: str) -> CatalogEntry | PublishedRelease:
    """What a name or URI stands for: a catalog entry before a published release.

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
        near = _did_you_mean(name_or_uri, list(entries))
        raise type(error)(f"no catalog entry {shown(name_or_uri)!r}{near}; {error}") from error
    if name_or_uri in published:
        return read_release(f"{open_storage(registry).uri}/{name_or_uri}")
    names = sorted({*entries, *published})
    raise InputError(
        f"no release {shown(name_or_uri)!r}{_did_you_mean(name_or_uri, names)}: expected a catalog "
        f"entry ({', '.join(sorted(entries))}), a name published below {shown(registry)}, or a "
        "release's URI"
    )


def _read(path: Path) -> dict[str, CatalogEntry]:
    try:
        entries = _Document.model_validate(read_yaml(path)).releases
    except ValidationError as error:
        raise InputError(f"catalog {path}: {_faults(error)}") from None
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


def _faults(error: ValidationError) -> str:
    # Without the values: a URL may hold a secret.
    return "; ".join(
        f"{shown_key(item['loc']) or 'as a whole'}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False)
    )


def _did_you_mean(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
