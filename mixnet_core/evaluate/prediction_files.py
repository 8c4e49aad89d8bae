"""Predictions that the processes of one scoring hand over: one file per checkpoint and process.

    answers/000-0.npy       rows of checkpoint 000 that process 0 judged; see `counting.JUDGED`

This module does not import MindSpore: whoever started the processes reads their files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mixnet_core.errors import IntegrityError
from mixnet_core.evaluate.counting import Judged, merged
from mixnet_core.processes.requests import EvaluateRequest
from mixnet_core.storage.files import file_aside


def write_predictions(request: EvaluateRequest, checkpoint: int, rank: int, rows: Judged) -> None:
    """Writes the rows that a process judged of the checkpoint of that number.

    Raises:
        MachineError: as `file_aside`.
    """
    with file_aside(_file(request, checkpoint, rank)) as aside, aside.open("wb") as file:
        np.save(file, rows, allow_pickle=False)


def read_predictions(request: EvaluateRequest, checkpoint: int, images: int) -> Judged:
    """Reads the rows that all processes judged of a checkpoint.

    Args:
        checkpoint: its number in `request.weights`.
        images: how many the split has.

    Returns:
        (images,), by position.

    Raises:
        IntegrityError: a process's file is missing or damaged, or not each image is there once.
    """
    parts = []
    for rank in range(request.workers):
        path = _file(request, checkpoint, rank)
        try:
            parts.append(np.load(path, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise IntegrityError(
                f"the answers of worker {rank} are not at {path} ({error}): measure again"
            ) from error
    return merged(parts, images)


def _file(request: EvaluateRequest, checkpoint: int, rank: int) -> Path:
    return Path(request.answers) / f"{checkpoint:03d}-{rank}.npy"
