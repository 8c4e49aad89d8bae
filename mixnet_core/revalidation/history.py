"""Earlier results of the releases, kept beside them as JSON lines.

    releases/revalidations/20261126T030000Z-3f2a91c4.jsonl

There is one file per revalidation, and in it one line per release.

A file is written once and never changed: no two writers meet, and S3 needs no append.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import ValidationError

from mixnet_core.errors import IntegrityError
from mixnet_core.evaluate.statistics import wilson_interval
from mixnet_core.revalidation.states import Revalidation
from mixnet_core.runs.values import Score
from mixnet_core.storage.open import open_storage

FOLDER = "revalidations"
# Reading waits for the store most of the time.
_AT_ONCE = 16

log = logging.getLogger(__name__)


def add_to_history(registry: str, results: Sequence[Revalidation]) -> str | None:
    """Keeps a revalidation's results.

    Returns:
        The URI of the new file; None where there are no results.

    Raises:
        IntegrityError: another file has its name, which holds its time and its digest.
        MixnetError: as `storage.Storage.create`.
    """
    if not results:
        return None
    content = "".join(result.model_dump_json() + "\n" for result in results).encode()
    stamp = max(result.time for result in results).replace("-", "").replace(":", "")
    key = f"{FOLDER}/{stamp}-{hashlib.sha256(content).hexdigest()[:8]}.jsonl"
    # Its name holds its digest: whoever else writes it, where the store does not refuse, writes the
    # same.
    storage = open_storage(registry, single_writer=True)
    # A repeated request may find what an unanswered first one made.
    if not storage.create(key, content) and storage.read(key) != content:
        raise IntegrityError(f"{storage.uri}/{key} is there with other content: look what wrote it")
    return f"{storage.uri}/{key}"


def read_history(registry: str) -> list[Revalidation]:
    """Reads all results so far, the oldest first.

    A line that is no result is left out, with a warning.

    Raises:
        MixnetError: as `storage.Storage`.
    """
    storage = open_storage(registry)
    found = []
    names = [name for name in storage.names(FOLDER) if name.endswith(".jsonl")]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        contents = list(pool.map(lambda name: storage.read(f"{FOLDER}/{name}"), names))
    for name, content in zip(names, contents, strict=True):
        for line in content.splitlines():
            try:
                found.append(Revalidation.model_validate_json(line))
            except ValidationError:
                log.warning("%s/%s/%s has a line that is no result", storage.uri, FOLDER, name)
    return sorted(found, key=lambda result: result.time)


def of_release(history: Sequence[Revalidation], name: str) -> list[Revalidation]:
    """Returns the results of one release, in their order."""
    return [result for result in history if result.release == name]


def last_state(history: Sequence[Revalidation], name: str, sha256: str) -> Revalidation | None:
    """Returns a release's last result; None where there is none of these weights.

    Args:
        history: the oldest first.
        sha256: hex, of its weights as published; a result whose file was changed or not fetched is
            of them too.
    """
    mine = [
        result
        for result in of_release(history, name)
        if result.sha256 in ("", sha256) or result.state == "file changed"
    ]
    return mine[-1] if mine else None


def last_measured(history: Sequence[Revalidation], sha256: str, dataset: str) -> Score | None:
    """Returns what a file reached the last time on these images, whatever came of it.

    Args:
        history: the oldest first.
        sha256: hex, of the file.
        dataset: fingerprint of the val images.
    """
    scores = [
        result.measured
        for result in history
        if result.measured and (result.sha256, result.dataset) == (sha256, dataset)
    ]
    return scores[-1] if scores else None


def vanished(
    history: Sequence[Revalidation],
    present: Sequence[str],
    registry: str,
    deleted: Mapping[str, str] = {},
) -> list[Revalidation]:
    """Returns the last results of releases that the registry does not hold any more.

    Args:
        present: names of those that it holds.
        registry: URI.
        deleted: name -> hex sha256 of the weights that were deleted under it on purpose.
    """
    last = {result.release: result for result in history if result.uri.startswith(registry + "/")}
    return [
        result
        for name, result in sorted(last.items())
        if name not in present and not (name in deleted and result.sha256 in ("", deleted[name]))
    ]


def trend(results: Sequence[Revalidation]) -> list[dict[str, Any]]:
    """Returns a release's points over time.

    Args:
        results: of one release.

    Returns:
        time, state, and top-1 with its 95 % interval, None where nothing was measured.
    """
    points = []
    for result in results:
        point: dict[str, Any] = {"time": result.time, "state": result.state}
        point |= {"top1": None, "low": None, "high": None}
        if result.measured:
            low, high = wilson_interval(result.measured.correct1, result.measured.count)
            point |= {"top1": result.measured.top1, "low": low, "high": high}
        points.append(point)
    return points
