"""Whether a release still is what was published: every file, and all that speaks of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.evaluate.prediction_table import read_table
from mixnet_core.evaluate.report.registry_index import (
    DOCUMENT,
    PAGE,
    Index,
    index_page,
    release_row,
)
from mixnet_core.release.aliases import alias_names, find_alias
from mixnet_core.release.manifest import MANIFEST, PublishedRelease, looks_released
from mixnet_core.release.signing import (
    NOT_SIGNED,
    SIGNATURE,
    VERIFY_KEY,
    verify_signature,
    verifying_key,
)
from mixnet_core.release.standing import standing
from mixnet_core.release.views import VIEWS
from mixnet_core.runs.markup import visible
from mixnet_core.storage.open import open_object
from mixnet_core.storage.storage import Storage


@dataclass(frozen=True)
class Finding:
    """Says of one thing whether it is what it should be.

    Attributes:
        what: the thing: a file's name, or what a document says.
    """

    what: str
    ok: bool
    said: str


@dataclass(frozen=True)
class Verifying:
    """Holds what a check looks at.

    Attributes:
        storage: of the registry; the release's files are below its name.
        files: role -> verified copy on this machine; a file that is not what was published is not
            among them.
        key: path of the public key that its signature is to be by; None: nobody says.
    """

    release: PublishedRelease
    storage: Storage
    files: dict[str, Path]
    key: str | None


Check = Callable[[Verifying], Iterator[Finding]]


def verify_release(release: PublishedRelease, key: str | Path | None = None) -> list[Finding]:
    """Reads all of a release again and compares it with its manifest, and that with what names it.

    Args:
        key: path of the public key that its signature is to be by; None: what MIXNET_VERIFY_KEY
            names, if anything.

    Raises:
        InputError: it is no key.
        MixnetError: as `storage.Storage`; what is missing or changed is a finding.
    """
    # The release's own, where an alias was named.
    storage, _ = open_object(release.uri)
    findings: list[Finding] = []
    with TemporaryDirectory() as folder:
        files = {}
        for role, file in sorted(release.files.items()):
            path = Path(folder) / file.name
            try:
                sha256 = storage.download(f"{release.name}/{file.name}", path)
            except InputError:
                findings.append(Finding(file.name, False, "is missing"))
                continue
            if sha256 == file.sha256 and path.stat().st_size == file.bytes:
                files[role] = path
                findings.append(Finding(file.name, True, f"sha256 {sha256[:12]} as in {MANIFEST}"))
            else:
                said = f"has sha256 {sha256[:12]}, {MANIFEST} states {file.sha256[:12]}"
                findings.append(Finding(file.name, False, said))
        looked_at = Verifying(release, storage, files, str(key) if key else verifying_key())
        for check in CHECKS:
            findings += check(looked_at)
    return findings


def require_verified(release: PublishedRelease, findings: list[Finding]) -> None:
    """Makes sure that all is as it should be.

    Raises:
        IntegrityError: something is not; all of it is named.
    """
    bad = [f"{item.what} {item.said}" for item in findings if not item.ok]
    if bad and all(item.ok or item.what in (DOCUMENT, PAGE) for item in findings):
        raise IntegrityError(
            f"release {release.name} at {release.shown_uri} is what was published, what its "
            f"registry shows of it is not: {'; '.join(bad)}"
        )
    if bad:
        raise IntegrityError(
            f"release {release.name} at {release.shown_uri} is not what was published: "
            f"{'; '.join(bad)}; do not use it until it is clear why"
        )


def _signature(looked_at: Verifying) -> Iterator[Finding]:
    """Verifies the signature, by which the manifest itself can be trusted."""
    release = looked_at.release
    if looked_at.key is None:
        there = looked_at.storage.exists(f"{release.name}/{SIGNATURE}")
        by_whom = f"is there; by whom it is, was not looked at: give --key or set {VERIFY_KEY}"
        yield Finding(SIGNATURE, True, by_whom if there else f"is not there: {NOT_SIGNED}")
        return
    try:
        found = verify_signature(
            release.uri, looked_at.key, manifest_sha256=release.manifest_sha256
        )
    except IntegrityError as error:
        yield Finding(SIGNATURE, False, f"does not hold ({error})")
    else:
        yield Finding(SIGNATURE, True, found)


def _views(looked_at: Verifying) -> Iterator[Finding]:
    """Compares what stands beside the manifest with the files that it is a copy of."""
    stored = looked_at.storage.names(looked_at.release.name)
    for view, role in VIEWS.items():
        file = looked_at.release.files.get(role)
        if file is None:
            if view in stored:
                yield Finding(view, True, f"is not the release's: it has no file in role {role}")
        elif view not in stored:
            yield Finding(view, False, f"is missing, a copy of {file.name}: publish it again")
        elif _sha256(looked_at, view) == file.sha256:
            yield Finding(view, True, f"is {file.name}")
        else:
            yield Finding(view, False, f"differs from {file.name}: publish the release again")
    named = {
        MANIFEST,
        *VIEWS,
        SIGNATURE,
        *(file.name for file in looked_at.release.files.values()),
    }
    for name in stored:
        if name not in named:
            ours = f"is named by no {MANIFEST}: `mixnet release collect`"
            said = ours if looks_released(name) else f"is not the release's: no {MANIFEST} names it"
            yield Finding(visible(name), True, said)


def _figures(looked_at: Verifying) -> Iterator[Finding]:
    """Counts the published predictions again: the manifest's figures have no digest."""
    score, classes = looked_at.release.score, looked_at.release.classes
    path = looked_at.files.get("answers")
    if score is None or path is None or not classes:
        return
    try:
        places = read_table(path, classes).rows["place"]
    except IntegrityError as error:
        yield Finding(MANIFEST, False, f"names classes that its predictions are not of ({error})")
        return
    counted = (len(places), int((places == 0).sum()), int((places < 5).sum()))
    stated = (score.count, score.correct1, score.correct5)
    val = looked_at.release.facts["val"]
    shares = {key: val[key] for key in ("top1", "top5") if key in val}
    right = {"top1": score.top1, "top5": score.top5}
    if stated != counted or any(right[key] != share for key, share in shares.items()):
        yield Finding(
            MANIFEST,
            False,
            f"states {stated[1]} and {stated[2]} of {stated[0]} images right among the first one "
            f"and five (shares {shares}), its predictions are {counted[1]} and {counted[2]} of "
            f"{counted[0]}",
        )
    else:
        yield Finding(MANIFEST, True, f"{counted[1]:,} of {counted[0]:,} right, as predicted")


def _aliases(looked_at: Verifying) -> Iterator[Finding]:
    """Compares the manifest with what aliases were set to."""
    release = looked_at.release
    for name in alias_names(looked_at.storage):
        try:
            alias = find_alias(looked_at.storage, name)
        except IntegrityError as error:
            yield Finding(f"alias {name}", False, f"cannot be read ({error})")
            continue
        if alias is None:
            continue
        if alias.release == release.name and alias.manifest_sha256 != release.manifest_sha256:
            yield Finding(
                MANIFEST,
                False,
                f"has sha256 {release.manifest_sha256[:12]}, alias {alias.alias} was set to "
                f"{alias.manifest_sha256[:12]}: one of them was changed",
            )


def _index(looked_at: Verifying) -> Iterator[Finding]:
    """Makes the index of this release, and the page of the index, anew and compares them."""
    storage, release = looked_at.storage, looked_at.release
    anew = "`mixnet release index` makes it anew"
    if not storage.exists(DOCUMENT):
        yield Finding(DOCUMENT, True, f"is not there: {anew}")
        return
    try:
        index = Index.model_validate_json(storage.read(DOCUMENT))
    except ValidationError as error:
        yield Finding(DOCUMENT, False, f"is no index ({error.error_count()} faults): {anew}")
        return
    said = {row.name: row for row in index.releases}.get(release.name)
    ours = release_row(standing(release, storage))
    if said is None:
        yield Finding(DOCUMENT, False, f"does not list {release.name}: {anew}")
    else:
        # A copy of the registry has other dates.
        differing = [
            key
            for key in type(ours).model_fields
            if key != "date" and _plain(getattr(said, key)) != _plain(getattr(ours, key))
        ]
        if differing:
            yield Finding(
                DOCUMENT,
                False,
                f"and {MANIFEST} do not say the same of {', '.join(differing)}: one of them was "
                f"changed, or the index is an earlier one; {anew}",
            )
        else:
            yield Finding(DOCUMENT, True, f"says the same as {MANIFEST}")
    page = storage.read(PAGE) if storage.exists(PAGE) else b""
    if page == index_page(index).encode():
        yield Finding(PAGE, True, f"shows {DOCUMENT}")
    else:
        yield Finding(
            PAGE,
            False,
            f"does not show what {DOCUMENT} says: it was changed, or another version made it; "
            f"{anew}",
        )


def _sha256(looked_at: Verifying, name: str) -> str:
    try:
        content = looked_at.storage.read(f"{looked_at.release.name}/{name}")
    except InputError:
        return ""
    return hashlib.sha256(content).hexdigest()


def _plain(value: object) -> str:
    return json.dumps(value, default=lambda item: item.model_dump(mode="json"), sort_keys=True)


# What else is asked of a release, in this order; each is told what was fetched and verified.
CHECKS: list[Check] = [_signature, _views, _figures, _aliases, _index]
