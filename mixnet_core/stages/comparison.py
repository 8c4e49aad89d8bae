"""Two releases side by side: figures, the same images paired, what their recipes differ in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.errors import IntegrityError
from mixnet_core.evaluate.prediction_table import PredictionTable, read_table
from mixnet_core.evaluate.statistics import Pairing, pairing
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.stages.acceptance import right
from mixnet_core.stages.release_to_measure import fetch_file
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.yaml_files import parse_yaml

NOT_STATED = "not stated"
NAMES_ONLY = ("name", "description")


@dataclass(frozen=True)
class Comparison:
    """Says how a release differs from one before it.

    Attributes:
        pair: their predictions of the images that both were measured on; None where there are none.
        images: how many each was measured on.
        unpaired: why there is no pair, or why it is not on all images; "" otherwise.
        recipe: dotted key -> what each recipe says; only where they differ.
    """

    before: PublishedRelease
    now: PublishedRelease
    pair: Pairing | None
    images: tuple[int | None, int | None]
    unpaired: str
    recipe: dict[str, tuple[Any, Any]]


def compare(before: PublishedRelease, now: PublishedRelease) -> Comparison:
    """Compares two releases by what was published with them; nothing is measured.

    Images are the same where both val splits have one fingerprint, which is over the images'
    bytes; within it an image is found by its path.

    Raises:
        IntegrityError: a file is not what was published, or is no table of answers.
        MixnetError: as `release_to_measure.fetch_file`.
    """
    scores = tuple(score.count if (score := item.score) else None for item in (before, now))
    with TemporaryDirectory() as folder:
        tables, unpaired = _tables(before, now, Path(folder))
        pair = None
        if tables is not None:
            pair, unpaired = _paired(*tables)
        recipe = _recipe_differences(before, now, Path(folder))
    return Comparison(before, now, pair, (scores[0], scores[1]), unpaired, recipe)


def _tables(
    before: PublishedRelease, now: PublishedRelease, folder: Path
) -> tuple[tuple[PredictionTable, PredictionTable] | None, str]:
    """Fetches both tables of predictions; None and the reason where they say nothing together."""
    lacking = [item.name for item in (before, now) if "answers" not in item.files]
    if lacking:
        return None, f"{' and '.join(lacking)} has no predictions image by image"
    if before.claimed_on is None or before.claimed_on != now.claimed_on:
        return None, "they were measured on other images (other fingerprints of val)"
    unnamed = [item.name for item in (before, now) if not item.classes]
    if unnamed:
        return None, f"{' and '.join(unnamed)} does not name its classes"
    first, second = (_table(item, folder / str(place)) for place, item in enumerate((before, now)))
    return (first, second), ""


def _table(release: PublishedRelease, folder: Path) -> PredictionTable:
    path = fetch_file(release, "answers", folder / "answers.csv")
    return read_table(path, release.classes or ())


def _paired(before: PredictionTable, now: PredictionTable) -> tuple[Pairing | None, str]:
    ours, theirs = _by_image(now), _by_image(before)
    common = [image for image in ours if image in theirs]
    if not common:
        return None, "no image of one has the path of one of the other"
    pair = pairing(_rights(theirs, common), _rights(ours, common))
    if len(common) == len(ours) == len(theirs):
        return pair, ""
    return pair, f"{len(common):,} images have the same path in both"


def _by_image(table: PredictionTable) -> dict[tuple[str, int], bool]:
    """Returns what is right by path, and by how often the path stood before: a list may repeat."""
    before: Counter[str] = Counter()
    found = {}
    for image, is_right in zip(table.images, right(table.rows).tolist(), strict=True):
        found[image, before[image]] = is_right
        before[image] += 1
    return found


def _rights(table: dict[tuple[str, int], bool], images: list[tuple[str, int]]) -> NDArray[np.bool_]:
    return np.array([table[image] for image in images], np.bool_)


def _recipe_differences(
    before: PublishedRelease, now: PublishedRelease, folder: Path
) -> dict[str, tuple[Any, Any]]:
    if any("recipe" not in item.files for item in (before, now)):
        return {}
    theirs, ours = (
        flat(_recipe(item, folder / f"{place}.yaml")) for place, item in enumerate((before, now))
    )
    keys = [key for key in {**theirs, **ours} if key not in NAMES_ONLY]
    both = {key: (theirs.get(key, NOT_STATED), ours.get(key, NOT_STATED)) for key in keys}
    return {key: pair for key, pair in both.items() if pair[0] != pair[1]}


def _recipe(release: PublishedRelease, target: Path) -> dict[str, Any]:
    """Reads a recipe as it was published, whatever version wrote it."""
    path = fetch_file(release, "recipe", target)
    where = f"{open_storage(release.uri).uri}/{release.files['recipe'].name}"
    value = parse_yaml(path.read_bytes(), where).value
    if not isinstance(value, dict):
        raise IntegrityError(f"{where} is no recipe: expected keys and values")
    return value


def flat(value: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Returns nested values under dotted keys.

    Args:
        before: what each key begins with.
    """
    found: dict[str, Any] = {}
    for key, inner in value.items():
        name = f"{before}{key}"
        found |= flat(inner, f"{name}.") if isinstance(inner, dict) else {name: inner}
    return found
