from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.release.manifest import Manifest, manifest_bytes, manifest_of, parse_manifest

URI = "file:///releases/digits-1"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    path = tmp_path / "w.CKPT"
    path.write_bytes(b"abc")
    return manifest_of("digits-1", {"weights": path}, {"top1": 0.5, "by": "Zoë", "classes": ("0",)})


def edited(manifest: Manifest, **changes: Any) -> bytes:
    return json.dumps(json.loads(manifest_bytes(manifest)) | changes).encode()


def test_the_document_is_what_it_always_was_byte_for_byte(manifest: Manifest) -> None:
    # A release is the same one exactly if these bytes are: another layout would be another release.
    assert (
        manifest_bytes(manifest).decode()
        == """{
  "facts": {
    "by": "Zoë",
    "classes": [
      "0"
    ],
    "top1": 0.5
  },
  "files": {
    "weights": {
      "bytes": 3,
      "name": "weights-ba7816bf8f01.ckpt",
      "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    }
  },
  "format": 1,
  "name": "digits-1"
}
"""
    )


def test_a_manifest_reads_back_with_where_it_was_and_its_digest(manifest: Manifest) -> None:
    read = parse_manifest(manifest_bytes(manifest), URI)
    assert (read.name, read.uri, read.facts) == ("digits-1", URI, manifest.facts)
    assert manifest_bytes(read) == manifest_bytes(manifest)
    assert read.manifest_sha256 == hashlib.sha256(manifest_bytes(manifest)).hexdigest()


def test_a_manifest_cannot_be_changed_after_it_was_checked(manifest: Manifest) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        manifest.name = "../up"  # type: ignore[misc]


def test_an_unusable_name_or_role_is_said_before_any_file_is_looked_at(tmp_path: Path) -> None:
    gone = {"weights": tmp_path / "gone"}
    with pytest.raises(InputError, match=r"^release 'Digits' is not a usable name"):
        manifest_of("Digits", gone, {})
    with pytest.raises(InputError, match=r"^role 'Weights' is not a usable name"):
        manifest_of("digits-1", {"Weights": tmp_path / "gone"}, {})


def test_an_unusable_role_in_a_stored_manifest_is_refused(manifest: Manifest) -> None:
    (file,) = json.loads(manifest_bytes(manifest))["files"].values()
    files = {"weights": file, "../up": file | {"name": "up-ba7816bf8f01.ckpt"}}
    with pytest.raises(IntegrityError, match=r"role '\.\./up' is not a usable name"):
        parse_manifest(edited(manifest, files=files), URI)


def test_every_fault_is_named_with_its_place_and_without_its_value(manifest: Manifest) -> None:
    content = edited(manifest, format=2, facts=["a very long value"])
    with pytest.raises(IntegrityError) as caught:
        parse_manifest(content, URI)
    assert "(format: Input should be 1; facts: Input should be" in str(caught.value)
    assert "long" not in str(caught.value)
    with pytest.raises(IntegrityError, match=r"format 1 \(it has no file in the role 'weights'\)"):
        parse_manifest(edited(manifest, files={}), URI)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_fact_that_is_no_finite_number_is_refused(manifest: Manifest, value: str) -> None:
    content = manifest_bytes(manifest).replace(b"0.5", value.encode())
    with pytest.raises(IntegrityError, match=r"format 1 \(facts: "):
        parse_manifest(content, URI)


def test_which_images_its_figures_are_on_is_said_where_its_facts_say_it(manifest: Manifest) -> None:
    on = {"folder": "/d", "split": "val/", "count": 16, "seen": 3, "unseen": {"top1": 0.5}}
    told = parse_manifest(edited(manifest, facts={"measured_on": on}), URI)
    said = "16 images, val/ of /d: 3 of 16 stand in training or selection, byte for byte"
    assert told.images == f" ({said})"
    for facts in (
        {},
        {"measured_on": None},
        {"measured_on": "val"},
        {"measured_on": {"count": "x"}},
    ):
        assert parse_manifest(edited(manifest, facts=facts), URI).images == ""
