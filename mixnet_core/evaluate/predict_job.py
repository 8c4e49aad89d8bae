"""Predicting any number of pictures: a supervised child computes, its rows are handed on at once.

Neither this process nor the child holds more than a part of the pictures at a time.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mixnet_core.data.named_pictures import NamedPicture
from mixnet_core.errors import DatasetError, IntegrityError
from mixnet_core.evaluate.job import BATCH, patience_of, threads_of
from mixnet_core.evaluate.picture_list import read_list, write_list
from mixnet_core.evaluate.prediction import Prediction, names_of
from mixnet_core.processes.held_devices import devices_held
from mixnet_core.processes.launch import run_job
from mixnet_core.processes.requests import PredictRequest, PredictResult
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.ticks import Tick, Watch, unwatched
from mixnet_core.runs.values import Value
from mixnet_core.storage.asides import held_aside
from mixnet_core.storage.files import file_aside, os_errors_explained

STAGE = "predict"
# Between two ticks while pictures are looked for.
_TICK_PICTURES = 1000


class Predicted(Value):
    """Sums predicting up.

    Attributes:
        images: that were named, those that cannot be read among them.
        unreadable: how many of them cannot be read.
        first_unreadable: one of those with the reason; "" if there is none.
        engine, images_per_second: as `PredictResult`.
    """

    images: int
    unreadable: int
    first_unreadable: str
    engine: str
    images_per_second: float

    @property
    def predicted(self) -> int:
        """Returns how many were read and predicted."""
        return self.images - self.unreadable


def predict_pictures(
    recipe: Recipe,
    weights: Path,
    num_classes: int,
    pictures: Iterable[NamedPicture],
    *,
    folder: Path,
    each: Callable[[Prediction], None],
    classes: Sequence[str] | None = None,
    ema: bool = False,
    top: int = 5,
    batch: int = BATCH,
    features: Path | None = None,
    expect: Callable[[int], None] = lambda images: None,
    watch: Watch = unwatched,
) -> Predicted:
    """Predicts pictures in the order in which they are named.

    Args:
        recipe: says the network, its input and the device.
        weights: file that fits it.
        num_classes: width of the classifier.
        pictures: as `data.named_pictures.named_pictures` yields them.
        folder: of the workspace, for the job's files; of a job that failed they stay.
        each: is given every prediction, in order, as soon as it is there. What it raises ends the
            job.
        classes: names in label order; None: numbers.
        ema: take the moving averages in the file.
        top: classes told of each image; of fewer classes all.
        batch: images computed at once; any number gives the same.
        features: file to write the features of the images that could be read to: .npy, (N, F)
            float32, in their order.
        expect: is told how many pictures there are before the first is predicted, and may raise.

    Raises:
        DatasetError: there are no pictures, or not one of them can be read; then no features are
            written.
        MixnetError: as `processes.launch.run_job` and `evaluate.predicting.predict`.
    """
    with ExitStack() as stack:
        with os_errors_explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            own = stack.enter_context(held_aside(folder))
        listed = own.path / "pictures"

        def found(count: int) -> None:
            if count % _TICK_PICTURES == 0:
                watch(Tick(STAGE, count, None, "img", detail="looking for pictures"))

        count = write_list(listed, pictures, found)
        expect(count)
        if count == 0:
            raise DatasetError(
                "no pictures in what was named: give files, or folders with pictures"
            )
        aside = stack.enter_context(file_aside(features)) if features is not None else None
        request = PredictRequest(
            recipe=recipe,
            weights=str(weights.absolute()),
            ema=ema,
            classes=num_classes,
            top=min(top, num_classes),
            pictures=str(listed.absolute()),
            images=count,
            # A graph of a fixed batch computes all of it.
            batch=min(batch, count),
            threads=threads_of(recipe, 1),
            features=None if aside is None else str(aside.absolute()),
            progress=str((own.path / "progress.jsonl").absolute()),
        )
        rows = _Rows(read_list(listed), names_of(classes, num_classes), count, each, watch)

        def say(text: str) -> None:
            watch(Tick(STAGE, 0, None, "img", detail=text, milestone=True))

        held = stack.enter_context(devices_held(recipe.devices.target, 1, STAGE, say))
        with _attempts(folder) as attempts:
            result = run_job(
                "mixnet_core.evaluate.predicting",
                request,
                attempts=attempts,
                threads=request.threads,
                env=held.environment,
                progress=Path(request.progress),
                on_progress=rows,
                # The list is the child's until it is gone, whatever becomes of this process.
                keep_open=(own.handle, *held.handles),
                patience=patience_of(recipe),
            )
        return rows.summed(PredictResult.model_validate(result))


@contextmanager
def _attempts(folder: Path) -> Iterator[Path]:
    """Yields a folder for an attempt, which goes if it succeeds: people predict often."""
    with os_errors_explained(folder):
        attempts = Path(tempfile.mkdtemp(prefix="job-", dir=folder))
    yield attempts
    shutil.rmtree(attempts, ignore_errors=True)


class _Rows:
    """Turns the job's rows into predictions, and counts them."""

    def __init__(
        self,
        pictures: Iterator[NamedPicture],
        names: Sequence[str],
        count: int,
        each: Callable[[Prediction], None],
        watch: Watch,
    ) -> None:
        self._pictures = pictures
        self._names = names
        self._count = count
        self._each = each
        self._watch = watch
        self._done = self._unreadable = self._at_first = 0
        self._first = ""
        self._began: float | None = None

    def __call__(self, row: dict[str, Any]) -> None:
        for found in row["images"]:
            self._each(self._prediction(next(self._pictures).path, found))
        self._done += len(row["images"])
        speed = self._speed(time.monotonic())
        self._watch(Tick(STAGE, self._done, self._count, "img", speed))

    def summed(self, result: PredictResult) -> Predicted:
        """Returns the sums.

        Raises:
            IntegrityError: not every picture has its row.
            DatasetError: not one can be read.
        """
        if self._done != self._count:
            raise IntegrityError(
                f"{self._done} of {self._count} pictures were predicted: report this, the "
                "predictions cannot be trusted"
            )
        if self._unreadable == self._count:
            raise DatasetError(
                f"none of {self._count:,} pictures can be read, the first is {self._first}: give "
                "pictures, or replace them"
            )
        return Predicted(
            images=self._count,
            unreadable=self._unreadable,
            first_unreadable=self._first,
            engine=result.engine,
            images_per_second=round(result.images_per_second, 1),
        )

    def _speed(self, now: float) -> float | None:
        if self._began is None:
            # The first batch waited for a graph.
            self._began, self._at_first = now, self._done
        seconds = now - self._began
        return (self._done - self._at_first) / seconds if seconds > 0 else None

    def _prediction(self, path: str, found: Any) -> Prediction:
        if isinstance(found, str):
            self._unreadable += 1
            self._first = self._first or f"{path} ({found})"
            return Prediction(path, (), (), found)
        labels, probabilities = found
        return Prediction(path, tuple(self._names[i] for i in labels), tuple(probabilities))
