"""What stands in a registry as one page and one document at its root, for whoever opens it.

    releases/index.json    a row a release
    releases/index.html    the same as a page, made from index.json alone

Both are views: they are made anew whenever something was published, promoted, retired or deleted,
and nothing reads them to decide anything. Of two writers at once the later one may have seen less;
what it left out stands there again after the next write, or after `mixnet release index`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from mixnet_core.errors import MixnetError
from mixnet_core.evaluate.statistics import wilson_interval
from mixnet_core.release.standing import Standing, standings
from mixnet_core.runs.markup import visible
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.sizes import size

if TYPE_CHECKING:
    from jinja2 import Template

DOCUMENT = "index.json"
PAGE = "index.html"
# In the page, in this order; the others stand in the manifest.
_LINKED = {"report_page": "report", "recipe": "recipe", "weights": "weights"}

log = logging.getLogger(__name__)


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileRow(_Row):
    """Describes a file of a release."""

    name: str
    bytes: int
    sha256: str


class ReleaseRow(_Row):
    """Describes a release; what its facts do not say is None.

    Attributes:
        classes: how many.
        top1, top5: shares of `images`, its val images.
        top1_low, top1_high: Wilson's 95 % interval.
        date: when its manifest was written, by the store's clock: UTC, ISO 8601.
        retired: why it is; None where it is not.
        card: whether README.md stands beside its manifest.
        files: role -> file.
    """

    name: str
    variant: str | None
    flavour: str | None
    image_size: int | None
    classes: int | None
    images: int | None
    top1: float | None
    top1_low: float | None
    top1_high: float | None
    top5: float | None
    date: str
    aliases: list[str]
    retired: str | None
    card: bool
    manifest_sha256: str
    files: dict[str, FileRow]


class Index(_Row):
    """Holds what index.json says."""

    format: Literal[1] = 1
    releases: list[ReleaseRow]


def release_row(standing: Standing) -> ReleaseRow:
    """Returns the row of a release."""
    release = standing.release
    facts, score, claims = release.facts, release.score, release.claims
    low, high = wilson_interval(score.correct1, score.count) if score else (None, None)
    return ReleaseRow(
        name=release.name,
        variant=_text(facts.get("variant")),
        flavour=_text(facts.get("flavour")),
        image_size=_number(facts.get("image_size")),
        classes=len(release.classes) if release.classes else None,
        images=score.count if score else None,
        top1=score.top1 if score else claims.get("top-1"),
        top1_low=low,
        top1_high=high,
        top5=score.top5 if score else claims.get("top-5"),
        date=standing.date,
        aliases=list(standing.aliases),
        retired=standing.retired,
        card="README.md" in standing.beside,
        manifest_sha256=release.manifest_sha256,
        files={role: FileRow(**file.model_dump()) for role, file in sorted(release.files.items())},
    )


def index_of(found: Sequence[Standing]) -> Index:
    """Returns what index.json is to say of these releases."""
    return Index(releases=[release_row(standing) for standing in found])


def index_bytes(index: Index) -> bytes:
    """Returns the document; equal indices are equal bytes."""
    text = json.dumps(index.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
    return f"{text}\n".encode()


def index_page(index: Index) -> str:
    """Returns the page's HTML; equal indices give equal text."""
    rows = sorted(index.releases, key=lambda row: (row.date, row.name), reverse=True)
    return _template().render(
        used=[row for row in rows if row.retired is None],
        retired=[row for row in rows if row.retired is not None],
        linked=_LINKED,
    )


def write_index(registry: str) -> Index:
    """Makes index.json and index.html at the root of a registry anew.

    Raises:
        MixnetError: as `storage.Storage`.
    """
    storage = open_storage(registry)
    index = index_of(standings(registry))
    contents = {DOCUMENT: index_bytes(index), PAGE: index_page(index).encode()}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in contents.items():
            path = Path(folder) / name
            with os_errors_explained(path):
                path.write_bytes(content)
            storage.upload(path, name, hashlib.sha256(content).hexdigest())
    return index


def renew_index(registry: str) -> None:
    """Does what `write_index` does after something was changed; what fails is a warning."""
    again = "`mixnet release index` makes it anew"
    try:
        write_index(registry)
    except MixnetError as error:
        log.warning("the index of the registry is not renewed: %s; %s", error, again)
    except Exception as error:
        # A view must never be why a release that stands there is taken for one that does not.
        log.warning("the index of the registry is not renewed (%r); %s", error, again)


@cache
def _template() -> Template:
    # Most commands write no page and need not wait for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        # Facts and reasons are whatever somebody wrote.
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.2f}"
    environment.filters["whole"] = lambda count: f"{count:,}"
    environment.filters["size"] = size
    return environment.get_template("registry_index.html")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
