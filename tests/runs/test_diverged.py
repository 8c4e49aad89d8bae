"""Where a run diverged is on record, a batch a line, and what it leaves out is read from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.errors import IntegrityError
from mixnet_core.runs.diverged import (
    DivergedBatch,
    add_diverged,
    left_out,
    read_diverged,
    rewinds,
)


def row(attempt: int, step: int, *, out: bool) -> DivergedBatch:
    return DivergedBatch(
        attempt=f"attempt-{attempt:03d}",
        what="the loss became nan",
        rewound_to=3,
        epoch=1,
        step=step,
        left_out=out,
        images=("a/1.png", "b/ä.png"),
    )


def test_rows_are_added_to_those_of_earlier_rewinds(tmp_path: Path) -> None:
    file = tmp_path / "diverged.jsonl"
    assert read_diverged(file) == []
    first, second = [row(1, 7, out=False)], [row(2, 9, out=True), row(2, 8, out=True)]
    add_diverged(file, first)
    add_diverged(file, second)
    assert read_diverged(file) == [*first, *second]
    assert len(file.read_text().splitlines()) == 3
    assert left_out(read_diverged(file)) == (8, 9)
    assert rewinds(read_diverged(file)) == 2


def test_a_damaged_record_is_refused_because_bits_depend_on_it(tmp_path: Path) -> None:
    file = tmp_path / "diverged.jsonl"
    add_diverged(file, [row(1, 7, out=True)])
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(IntegrityError, match="says which batches this one leaves out"):
        read_diverged(file)
