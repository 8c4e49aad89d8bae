"""The entry that makes a release: which files it has, with their digests, and the facts about them.

    releases/<name>/
        weights-<12 hex>.ckpt  report-<12 hex>.json  ...   named by role and digest
        manifest.json                                      written last: without it no release

Two releases are the same exactly if their manifests are; a manifest holds no time, and no path but
that of the folder which its figures were counted on.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.runs.run_dir import checked_name
from mixnet_core.runs.values import MeasuredOn, Score
from mixnet_core.storage.faults import faults
from mixnet_core.storage.files import os_errors_explained, sha256_of
from mixnet_core.storage.uris import shown

MANIFEST = "manifest.json"
WEIGHTS = "weights"
SEEN = "seen"
BESIDE = ("README.md", "README.hf.md", "config.json", "model.sig")
"""Files in a release's folder that its manifest does not name: views of what it names, and what
signs it."""

_DIGEST_LETTERS = 12
_RELEASED = re.compile(r"[a-z0-9][a-z0-9._-]*-[0-9a-f]{12}(\.[a-z0-9._-]*)?")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ReleasedFile(_Strict):
    """Describes one file of a release.

    Attributes:
        name: in the release's folder: role, the first 12 digits of the digest, suffix.
        sha256: hex, of the whole file.
        bytes: its size.
    """

    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Manifest(_Strict):
    """Holds what `manifest.json` says.

    Attributes:
        format: of this document.
        name: of the release, as its folder is named.
        files: role -> file; "weights" is always there.
        facts: JSON values that whoever published chose: variant, flavour, classes, scores, ...
    """

    format: Literal[1] = 1
    name: str
    files: dict[str, ReleasedFile]
    facts: dict[str, Any]

    @model_validator(mode="after")
    def _names_are_safe(self) -> Manifest:
        try:
            checked_name(self.name, "release")
            for role, file in self.files.items():
                checked_name(role, "role")
                checked_name(file.name, "released file")
        except InputError as error:
            raise ValueError(str(error)) from error
        for role, file in self.files.items():
            if not file.name.startswith(f"{role}-{file.sha256[:_DIGEST_LETTERS]}"):
                raise ValueError(f"file name {file.name!r} does not carry its role and digest")
        if WEIGHTS not in self.files:
            raise ValueError(f"it has no file in the role {WEIGHTS!r}")
        return self

    @field_validator("facts")
    @classmethod
    def _facts_are_json(cls, facts: dict[str, Any]) -> dict[str, Any]:
        # Pydantic reads NaN and writes null for it: two manifests that differ would be equal bytes.
        json.dumps(facts, allow_nan=False)
        return facts


class PublishedRelease(Manifest):
    """Holds a manifest and where it was read.

    Attributes:
        uri: of the release's folder.
        manifest_sha256: hex, of the bytes read.
    """

    uri: str
    manifest_sha256: str

    @property
    def shown_uri(self) -> str:
        """Returns its URI as records, pages and events may say it."""
        return shown(self.uri)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Returns the classes in label order; None where its facts do not say them."""
        classes = self.facts.get("classes")
        return tuple(str(name) for name in classes) if isinstance(classes, list) else None

    @property
    def claims(self) -> dict[str, float]:
        """Returns what it states of itself: "top-1" or "top-5" -> share in 0..1.

        What is none, as facts of somebody else's may have it, is no claim.
        """
        stated = {"top-1": self._fact("val", "top1"), "top-5": self._fact("val", "top5")}
        return {
            figure: float(value)
            for figure, value in stated.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        }

    @property
    def score(self) -> Score | None:
        """Returns what was counted for it, each image once; None where it does not say so."""
        val = self.facts.get("val")
        try:
            known = {key: val[key] for key in Score.model_fields} if isinstance(val, dict) else {}
            found = Score.model_validate(known, strict=True)
        except (KeyError, ValidationError):
            return None
        return found if 0 <= found.correct1 <= found.correct5 <= found.count > 0 else None

    @property
    def claimed_on(self) -> str | None:
        """Returns the fingerprint of the val images that its claims were counted on, if stated."""
        value = self._fact("dataset", "val_fingerprint")
        return value if isinstance(value, str) else None

    @property
    def images(self) -> str:
        """Returns which images its figures are on, for the end of a line; "" if not stated."""
        try:
            on = MeasuredOn.model_validate({**self.facts["measured_on"], "unseen": None})
        except (KeyError, TypeError, ValidationError):
            return ""
        return f" ({on.line})"

    @property
    def seen_lacks(self) -> str | None:
        """Returns the name of weights that it descends from, of whose training images nothing is
        known; None where its file in the role `seen` has all of them.
        """
        if SEEN not in self.files:
            return self.name
        on = self.facts.get("measured_on")
        if isinstance(on, dict) and "unknown_start" in on:
            return None if on["unknown_start"] is None else shown(str(on["unknown_start"]))
        # Of an earlier version, whose file has its own training alone.
        if self.facts.get("started_from", self.name) is None:
            return None
        return shown(str(self._fact("started_from", "name") or self.name))

    def _fact(self, section: str, key: str) -> Any:
        """Returns a fact of a section; facts are whatever the publisher chose."""
        inner = self.facts.get(section)
        return inner.get(key) if isinstance(inner, dict) else None


def manifest_of(name: str, files: dict[str, Path], facts: dict[str, Any]) -> Manifest:
    """Makes the manifest of local files that are about to be published.

    Args:
        files: role -> local file.
        facts: JSON values.

    Raises:
        InputError: an unusable name, role or suffix, no weights, a missing file, facts that JSON
            cannot hold.
        MachineError: a file cannot be read.
    """
    checked_name(name, "release")
    described = {}
    for role, path in files.items():
        checked_name(role, "role")
        if not path.is_file():
            raise InputError(f"no file at {path} for the role {role!r}: check the path")
        with os_errors_explained(path, "read"):
            sha256, size = sha256_of(path), path.stat().st_size
        described[role] = ReleasedFile(
            name=released_name(role, sha256, path.suffix),
            sha256=sha256,
            bytes=size,
        )
    try:
        # In the form that is read again: tuples become lists, keys become text.
        plain = json.loads(json.dumps(facts, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the facts of release {name!r} are no JSON ({error}): expected text, finite numbers, "
            "lists and keys"
        ) from error
    try:
        return Manifest(name=name, files=described, facts=plain)
    except ValidationError as error:
        raise InputError(f"cannot publish {name!r}: {faults(error)}") from None


def looks_released(name: str) -> bool:
    """Tells whether a file's name is of the form that publishing gives: role, digest, suffix."""
    return _RELEASED.fullmatch(name) is not None


def released_name(role: str, sha256: str, suffix: str) -> str:
    """Returns the name that a file has in a release's folder.

    Raises:
        InputError: the suffix cannot stand in a name.
    """
    return checked_name(f"{role}-{sha256[:_DIGEST_LETTERS]}{suffix.lower()}", "released file")


def manifest_bytes(manifest: Manifest) -> bytes:
    """Returns the document; equal manifests are equal bytes."""
    data = manifest.model_dump(mode="json", include=set(Manifest.model_fields))
    text = json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False)
    return f"{text}\n".encode()


def parse_manifest(content: bytes, uri: str, *, is_copy: bool = False) -> PublishedRelease:
    """Reads the manifest found in the release folder at `uri`, whose last part must be its name.

    Args:
        is_copy: of a release that somebody put elsewhere, under whatever name.

    Raises:
        IntegrityError: it is not a manifest, was edited into an unsafe one, or belongs elsewhere.
    """
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(
            f"{shown(uri)}/{MANIFEST} is no usable manifest of format 1 ({faults(error)}): delete "
            "it and publish the release again"
        ) from None
    if not is_copy and manifest.name != uri.rpartition("/")[2]:
        raise IntegrityError(
            f"{shown(uri)}/{MANIFEST} is of a release named {manifest.name!r}: rename the "
            "folder to that"
        )
    return PublishedRelease(
        **dict(manifest), uri=uri, manifest_sha256=hashlib.sha256(content).hexdigest()
    )
