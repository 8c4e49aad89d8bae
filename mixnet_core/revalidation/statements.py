"""Verdicts of re-validations as in-toto statements, beside the history and for other programs.

    releases/revalidations/statements/20261126T030000Z-3f2a91c4.intoto.jsonl

There is one file per revalidation, and in it one statement per release that was measured. A file is
written once and never changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from mixnet_core.release.provenance import Statement, verdict_statement
from mixnet_core.revalidation.history import FOLDER
from mixnet_core.revalidation.states import Revalidation, percent
from mixnet_core.storage.open import open_storage

STATEMENTS = f"{FOLDER}/statements"


def verdict_of(result: Revalidation) -> Statement | None:
    """Makes the statement of a result; None where nothing was fetched, so that no bytes are known.

    Its tests are the release's claims.
    """
    if not result.sha256:
        return None
    return verdict_statement(
        name=result.release,
        uri=result.uri,
        sha256=result.sha256,
        state=result.state,
        time=result.time,
        lines=[
            (
                f"{claim.figure} {percent(claim.claimed)} claimed, {percent(claim.measured)} "
                "measured",
                claim.supported,
            )
            for claim in result.claims
        ],
        images=result.dataset,
        engine=result.engine,
        note=result.note,
    )


def add_statements(registry: str, results: Sequence[Revalidation]) -> str | None:
    """Keeps the statements of a revalidation.

    Returns:
        The URI of the new file; None where nothing can be stated.

    Raises:
        MixnetError: as `storage.Storage.create`.
    """
    found = [verdict for result in results if (verdict := verdict_of(result)) is not None]
    if not found:
        return None
    lines = [json.dumps(verdict, sort_keys=True, ensure_ascii=False) + "\n" for verdict in found]
    content = "".join(lines).encode()
    stamp = max(result.time for result in results).replace("-", "").replace(":", "")
    key = f"{STATEMENTS}/{stamp}-{hashlib.sha256(content).hexdigest()[:8]}.intoto.jsonl"
    # Its name holds its digest: who else writes it writes the same.
    storage = open_storage(registry, single_writer=True)
    storage.create(key, content)
    return f"{storage.uri}/{key}"
