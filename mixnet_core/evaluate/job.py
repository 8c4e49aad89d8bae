"""Measuring weights files: supervised children predict, their predictions are added up here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from mixnet_core.evaluate.counting import Judged, score
from mixnet_core.evaluate.prediction_files import read_predictions
from mixnet_core.processes.cores import usable_cores
from mixnet_core.processes.held_devices import HeldDevices, devices_held
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.processes.launch import Patience, run_job
from mixnet_core.processes.requests import EvaluateRequest, EvaluateResult
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.ticks import EvaluationTicks, Tick, Watch, unwatched
from mixnet_core.runs.values import PreparedDataset, Score
from mixnet_core.storage.asides import Aside, drop_aside, hold_aside
from mixnet_core.storage.files import os_errors_explained

# Images between two rows of progress; any number gives the same counts.
BATCH = 64


@dataclass(frozen=True, eq=False)
class Measured:
    """Holds what weights files predicted for a split's images.

    Attributes:
        predictions: for each file in the order asked for, one row per image by position; see
            `counting.JUDGED`.
        engine, images_per_second: as `EvaluateResult`.
    """

    predictions: tuple[Judged, ...]
    engine: str
    images_per_second: float

    @property
    def scores(self) -> tuple[Score, ...]:
        """Returns each file's totals, in the order of the predictions."""
        return tuple(score(rows) for rows in self.predictions)


@dataclass(frozen=True)
class Together:
    """Says with which other hosts something is measured, as the one that leads them.

    Attributes:
        ranks: this host's, among those of all.
        on_start, on_look: as `processes.launch.run_job`.
        on_end: returns once the other hosts' ranks are done too.
    """

    ranks: HostRanks
    on_start: Callable[[Path, HostRanks], None]
    on_look: Callable[[Path], None]
    on_end: Callable[[], None]


def measure(
    recipe: Recipe,
    dataset: PreparedDataset,
    files: Sequence[Path],
    *,
    split: str,
    stage: str,
    attempts: Path,
    workers: int | None = None,
    together: Together | None = None,
    held: HeldDevices | None = None,
    batch: int = BATCH,
    ema: bool = False,
    keep_open: tuple[int, ...] = (),
    columns: tuple[int, ...] | None = None,
    watch: Watch = unwatched,
) -> Measured:
    """Has each weights file predict every image of a split once.

    Args:
        recipe: says the network, its input and the device.
        dataset: holds the split, and the classes in label order.
        files: weights files that fit the recipe's network, all of one suffix.
        stage: the name that watchers are told.
        attempts: folder for the child's request and logs; several may measure in it at once.
        workers: processes that share the images; None: `workers_of` the recipe.
        together: with which other hosts; None: on this one alone.
        held: this host's devices, for all of its ranks; None: they are held for the call.
        batch: images computed at once; any number gives the same counts.
        ema: measure the moving averages in the files, not the weights beside them.
        keep_open: as `processes.launch.run_job`.
        columns: of the logits, one for each label of the dataset, where the weights have its
            classes in another order.

    Raises:
        IntegrityError: not every image was predicted exactly once.
        MixnetError: as `processes.launch.run_job` and `evaluate.scoring.evaluate`.
    """
    ranks = together.ranks if together else HostRanks(each=workers or workers_of(recipe))
    threads = threads_of(recipe, ranks.each)

    def say(text: str) -> None:
        watch(Tick(stage, 0, None, "img", detail=text, milestone=True))

    # Of its own: another measurement may be under way in the same folder.
    holding = devices_held(recipe.devices.target, ranks.each, stage, say)
    with nullcontext(held) if held else holding as devices, _aside_in(attempts) as own:
        request = EvaluateRequest(
            recipe=recipe,
            dataset=dataset.root,
            split=split,
            weights=tuple(str(file) for file in files),
            classes=len(dataset.classes),
            batch=batch,
            threads=threads,
            answers=str(own.path / "answers"),
            progress=str(own.path / "progress.jsonl"),
            workers=ranks.count,
            each=ranks.each,
            columns=columns,
            ema=ema,
        )
        result = EvaluateResult.model_validate(
            run_job(
                "mixnet_core.evaluate",
                request,
                attempts=attempts,
                ranks=ranks,
                threads=threads,
                env=devices.environment,
                progress=Path(request.progress),
                on_progress=EvaluationTicks(stage, watch),
                on_start=together.on_start if together else None,
                on_look=together.on_look if together else None,
                # The folder is theirs until they are gone, whatever becomes of this process.
                keep_open=(*keep_open, own.handle, *devices.handles),
                patience=patience_of(recipe),
            )
        )
        if together:
            together.on_end()
        images = dataset.counts[split]
        return Measured(
            predictions=tuple(
                read_predictions(request, number, images) for number in range(len(files))
            ),
            engine=result.engine,
            images_per_second=result.images_per_second,
        )


@contextmanager
def _aside_in(folder: Path) -> Iterator[Aside]:
    """Yields a folder aside in a folder that need not be there.

    Raises:
        MachineError: it cannot be written.
    """
    with os_errors_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        aside = hold_aside(folder)
    try:
        yield aside
    finally:
        drop_aside(aside)


def workers_of(recipe: Recipe) -> int:
    """Returns how many processes measure on a host: one a device; of a CPU one takes all cores."""
    return 1 if recipe.devices.target == "CPU" else recipe.devices.ranks


def threads_of(recipe: Recipe, ranks: int) -> int:
    """Returns how many CPU threads one of `ranks` processes takes on this machine."""
    return recipe.devices.threads_per_rank or max(1, usable_cores() // ranks)


def patience_of(recipe: Recipe) -> Patience:
    """Returns how long the recipe's device may compile and stand still."""
    return Patience(
        first_seconds=recipe.devices.compile_seconds, stall_seconds=recipe.devices.stall_seconds
    )
