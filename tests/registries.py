"""Registries for tests: places to publish to, and releases with predictions that say something."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixnet_core.evaluate.counting import JUDGED
from mixnet_core.evaluate.prediction_table import PredictionTable, write_table
from mixnet_core.release.manifest import PublishedRelease, parse_manifest
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import read_release, release_names
from mixnet_core.storage.open import open_storage

CLASSES = tuple("abcdefg")


@pytest.fixture(params=["file", "s3"])
def to(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place to publish to."""
    if request.param == "file":
        return (tmp_path / "releases").as_uri()
    request.getfixturevalue("s3_environment")
    return f"s3://releases/{uuid.uuid4().hex}"


def predictions(places: list[int], images: list[str] | None = None) -> PredictionTable:
    """Predictions whose labels come at these places."""
    rows = np.zeros(len(places), JUDGED)
    rows["position"] = range(len(places))
    rows["place"] = places
    rows["answer"] = [1 if place else 0 for place in places]
    rows["confidence"] = 0.5
    names = images or [f"val/a/{number:03d}.png" for number in range(len(places))]
    return PredictionTable(tuple(names), rows)


def make_release(
    name: str,
    to: str,
    folder: Path,
    *,
    places: list[int] | None = None,
    images: list[str] | None = None,
    weights: bytes = b"",
    recipe: str = "name: digits\n",
    val: str = "v" * 8,
    **facts: Any,
) -> PublishedRelease:
    """Publishes a release with weights, a recipe, and predictions that its figures are of."""
    place = folder / uuid.uuid4().hex
    place.mkdir(parents=True)
    (place / "w.ckpt").write_bytes(weights or f"weights of {name}".encode())
    (place / "r.yaml").write_text(recipe)
    places = [0, 0, 0, 1, 6] if places is None else places
    write_table(place / "a.csv", predictions(places, images), CLASSES)
    count = len(places)
    first, five = sum(p == 0 for p in places), sum(p < 5 for p in places)
    figures = {"count": count, "correct1": first, "correct5": five, "loss": 0.25}
    published = publish_release(
        name,
        registry=to,
        files={"weights": place / "w.ckpt", "recipe": place / "r.yaml", "answers": place / "a.csv"},
        facts={
            "variant": "s",
            "flavour": "mindcv",
            "classes": list(CLASSES),
            "val": {**figures, "top1": first / count, "top5": five / count},
            "dataset": {"val_fingerprint": val},
            **facts,
        },
    )
    return read_release(published.uri)


def overwrite(to: str, key: str, content: bytes | None) -> None:
    """Puts other bytes there, past every check, or takes them away: None."""
    if to.startswith("file:"):
        path = Path(to.removeprefix("file://")) / key
        path.unlink() if content is None else path.write_bytes(content)
        return
    storage: Any = open_storage(to)
    bucket, _, prefix = to.removeprefix("s3://").partition("/")
    where = {"Bucket": bucket, "Key": f"{prefix}/{key}"}
    if content is None:
        storage._client.delete_object(**where)
    else:
        storage._client.put_object(Body=content, **where)


def expect_whole_releases(to: str) -> list[str]:
    """Checks every file of every release there; returns the releases' names."""
    storage, names = open_storage(to), release_names(to)
    for name in names:
        for file in read_release(f"{to}/{name}").files.values():
            content = storage.read(f"{name}/{file.name}")
            assert hashlib.sha256(content).hexdigest() == file.sha256, f"{name}/{file.name}"
    return names


def expect_files_of_releases(to: str) -> list[str]:
    """Checks that every file of every release is there; returns the releases' names."""
    storage, stored = open_storage(to), set(keys(to))
    names = [key.removesuffix("/manifest.json") for key in sorted(stored) if "/manifest" in key]
    for name in names:
        release = parse_manifest(storage.read(f"{name}/manifest.json"), f"{to}/{name}")
        assert {f"{name}/{file.name}" for file in release.files.values()} <= stored
    return names


def keys(to: str) -> list[str]:
    return [item.key for item in open_storage(to).listed()]
