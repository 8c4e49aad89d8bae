"""The job of `mixnet predict`: `python -m` this module.

Its rows of progress are the predictions, one row per batch, in the list's order:

{"event": "predicted", "done", "images": [[LABELS, PROBABILITIES], "WHY IT CANNOT BE READ", ...]}

A segfault of a decoder or of an engine ends this process, and not whoever called.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.given import GivenImages, read_file
from mixnet_core.data.named_pictures import NamedPicture
from mixnet_core.data.pixels import Pixels
from mixnet_core.errors import DatasetError
from mixnet_core.evaluate.picture_list import read_list
from mixnet_core.evaluate.prediction import best
from mixnet_core.evaluate.predictor import Computed, Predictor
from mixnet_core.processes.child import beat, long_stretch, main, slow_at_first
from mixnet_core.processes.requests import PredictRequest, PredictResult
from mixnet_core.storage.files import os_errors_explained, write_text

# Pictures whose names are in memory at a time; between two such parts the engine runs empty.
_PART = 16384


def predict(request: PredictRequest) -> PredictResult:
    """Predicts the listed pictures in their order.

    Raises:
        MixnetError: as `Predictor`.
    """
    write_text(Path(request.progress), "")
    with long_stretch():
        predictor = Predictor(
            request.recipe,
            Path(request.weights),
            request.classes,
            ema=request.ema,
            features=request.features is not None,
            batch=request.batch,
            threads=request.threads,
        )
    done, features = 0, None
    if request.features is not None:
        features = FeatureFile(Path(request.features))
    began = time.monotonic()
    for computed in slow_at_first(_computed(predictor, Path(request.pictures))):
        done += len(computed.positions) + len(computed.unreadable)
        _tell(Path(request.progress), done, _rows(computed, request.top))
        if features is not None and computed.features is not None:
            features.add(computed.features)
        beat()
    seconds = time.monotonic() - began
    if features is not None:
        features.close()
    return PredictResult(images_per_second=done / seconds, engine=predictor.engine)


def _computed(predictor: Predictor, pictures: Path) -> Iterator[Computed]:
    every = read_list(pictures)
    while part := list(islice(every, _PART)):
        yield from predictor(GivenImages([_reader(picture) for picture in part]))


def _reader(picture: NamedPicture) -> Callable[[], Pixels]:
    if picture.reason:
        return partial(_refuse, picture.reason)
    return partial(read_file, picture.path)


def _refuse(reason: str) -> Pixels:
    raise DatasetError(reason)


def _rows(computed: Computed, top: int) -> list[Any]:
    labels, probabilities = best(computed.logits, top)
    rows: dict[int, Any] = {**computed.unreadable}
    for at, position in enumerate(computed.positions.tolist()):
        rows[position] = [labels[at].tolist(), probabilities[at].tolist()]
    return [rows[position] for position in sorted(rows)]


def _tell(progress: Path, done: int, rows: list[Any]) -> None:
    row = {"event": "predicted", "done": done, "images": rows}
    with os_errors_explained(progress), progress.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


class FeatureFile:
    """Writes (N, F) float32 as NumPy's .npy, a batch at a time, whatever N will be.

    The format: numpy.lib.format, version 1.0; its header of a fixed length is written at the end.

    Args:
        path: of the file, which is written anew.

    Raises:
        MachineError: it cannot be written.
    """

    _HEADER_BYTES = 128

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = self._width = 0
        with os_errors_explained(path):
            self._file: IO[bytes] = path.open("wb")
            self._file.write(bytes(self._HEADER_BYTES))

    def add(self, features: NDArray[np.float32]) -> None:
        """Adds a batch, (N, F)."""
        with os_errors_explained(self._path):
            self._file.write(np.ascontiguousarray(features, "<f4").tobytes())
        self._count += len(features)
        self._width = features.shape[1]

    def close(self) -> None:
        """Completes the file."""
        shape = (self._count, self._width)
        text = repr({"descr": "<f4", "fortran_order": False, "shape": shape})
        room = self._HEADER_BYTES - 10
        header = text.encode("ascii").ljust(room - 1) + b"\n"
        with os_errors_explained(self._path), self._file:
            self._file.seek(0)
            self._file.write(b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + header)


if __name__ == "__main__":
    raise SystemExit(main(predict, PredictRequest))
