"""Where a run's training diverged and went back, as JSON lines in the run's folder.

    {"attempt", "what", "rewound_to", "epoch", "step", "left_out", "images": [...]}

A row is a batch that may have done it: epoch and step from 1, the step counted from the beginning;
all rows of one attempt are one rewind. `left_out` says whether every attempt since leaves it out.
`images` are those of all ranks, as the dataset's index names them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from mixnet_core.errors import IntegrityError
from mixnet_core.runs.values import Value
from mixnet_core.storage.files import os_errors_explained, write_text


class DivergedBatch(Value):
    """Is a row; see the module's header."""

    attempt: str
    what: str
    rewound_to: int
    epoch: int
    step: int
    left_out: bool
    images: tuple[str, ...]


def read_diverged(file: Path) -> list[DivergedBatch]:
    """Reads all rows; none if there is no file.

    Raises:
        IntegrityError: the file is damaged. What it says is part of what the run computes.
        MachineError: it cannot be read.
    """
    if not file.is_file():
        return []
    with os_errors_explained(file, "read"):
        lines = file.read_bytes().splitlines()
    try:
        return [DivergedBatch.model_validate_json(line) for line in lines]
    except ValidationError as error:
        raise IntegrityError(
            f"{file} is damaged ({error.error_count()} faults): restore it, or begin another run; "
            "it says which batches this one leaves out"
        ) from None


def add_diverged(file: Path, rows: Sequence[DivergedBatch]) -> None:
    """Adds rows, all or none of them.

    Raises:
        IntegrityError, MachineError: as `read_diverged`; the disk is full or not writable.
    """
    every = [*read_diverged(file), *rows]
    write_text(file, "".join(json.dumps(row.model_dump(mode="json")) + "\n" for row in every))


def left_out(rows: Sequence[DivergedBatch]) -> tuple[int, ...]:
    """Returns the steps that the run leaves out, in order, each once."""
    return tuple(sorted({row.step for row in rows if row.left_out}))


def rewinds(rows: Sequence[DivergedBatch]) -> int:
    """Counts how often the run went back."""
    return len({row.attempt for row in rows})
