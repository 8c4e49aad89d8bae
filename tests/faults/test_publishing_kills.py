"""A few of the kills of `publishing_kills`; `make faults` has 200 in each kind of registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.publishing_kills import Bucket, Folder, Place, kill_publishing
from tests.object_store import ObjectStore


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.faults)])
def test_publishing_to_s3_that_is_killed_leaves_a_whole_release_or_none(
    kills: int, s3_environment: ObjectStore, tmp_path: Path
) -> None:
    place: Place = Bucket(s3_environment, f"killed-{kills}")
    assert kill_publishing(kills, place, tmp_path, seed=kills).kills >= kills


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.faults)])
def test_publishing_to_a_folder_that_is_killed_leaves_a_whole_release_or_none(
    kills: int, tmp_path: Path
) -> None:
    place: Place = Folder(tmp_path / "releases")
    assert kill_publishing(kills, place, tmp_path, seed=kills).kills >= kills
