"""What becomes of a training that diverged: it ends, or goes back to where it was well.

The rank that noticed leaves in its attempt's folder which batches may have done it
(`errors.Diverged.facts`). It is read from there, by the call that ran the attempt or, if that was
killed, by the next one: no checkpoint that was saved since is ever gone on from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mixnet_core.checkpoints.bundle import newest_bundle
from mixnet_core.checkpoints.distrust import DIVERGED_PREFIX, distrust, go_back
from mixnet_core.data.batches import step_positions, steps_per_epoch
from mixnet_core.data.index import read_index
from mixnet_core.errors import Diverged, InputError, IntegrityError, MixnetError
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.diverged import (
    DivergedBatch,
    add_diverged,
    left_out,
    read_diverged,
    rewinds,
)
from mixnet_core.runs.run_dir import RunDir, newest_attempt
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.storage.files import read_json


class _Divergence(NamedTuple):
    """Says what an attempt's ranks found.

    Attributes:
        attempt: its folder's name.
        batches: steps whose batches may have done it, the earliest first.
        what: was seen.
    """

    attempt: str
    batches: tuple[int, ...]
    what: str


class Rewinding:
    """Settles divergences of a run's attempts, as `training.on_divergence` says.

    Args:
        recipe: says what is done, and how often.
        run: its attempts and checkpoints.
        dataset: that it trains on.
        say: is told what was done, in a line.
    """

    def __init__(
        self, recipe: Recipe, run: RunDir, dataset: PreparedDataset, say: Callable[[str], None]
    ) -> None:
        self._recipe, self._run, self._dataset, self._say = recipe, run, dataset, say

    @property
    def left_out(self) -> tuple[int, ...]:
        """Returns the steps that the run leaves out.

        Raises:
            IntegrityError: the run's record of them is damaged.
        """
        return left_out(read_diverged(self._run.diverged))

    @property
    def count(self) -> int:
        """Counts how often the run went back.

        Raises:
            IntegrityError: as `left_out`.
        """
        return rewinds(read_diverged(self._run.diverged))

    def settle_before(self) -> None:
        """Settles what the newest attempt of an earlier call left, if that did not.

        Raises:
            IntegrityError, MachineError: as `settle`.
        """
        found = _newest_divergence(self._run.attempts("train"))
        if found is not None and not self._is_settled(found):
            if self._may_go_back():
                self._go_back(found, found.what)
            else:
                self._distrust(found)

    def settle(self, error: MixnetError) -> bool:
        """Goes back if the attempt that just ended diverged.

        Whatever it was ended by: a rank that diverged may hang, or take another one along, before
        it is asked.

        Args:
            error: what ended it.

        Returns:
            Whether it went back; False where nothing diverged.

        Raises:
            MixnetError: the error, because the recipe says stop.
            Diverged: the run went back often enough.
            IntegrityError: the run's record of earlier divergences is damaged.
            MachineError: a checkpoint cannot be set aside, the disk is full or not writable.
        """
        found = _newest_divergence(self._run.attempts("train"))
        if found is None or self._is_settled(found):
            return False
        if self._may_go_back():
            self._go_back(found, str(error))
            return True
        self._distrust(found)
        if self._recipe.training.on_divergence == "stop":
            raise error
        raise Diverged(
            f"{error}; the run went back {self.count} time{'s' if self.count > 1 else ''}, "
            "training.rewinds allows no more",
            batches=found.batches,
            what=found.what,
        )

    def _may_go_back(self) -> bool:
        training = self._recipe.training
        return training.on_divergence != "stop" and self.count < training.rewinds

    def _is_settled(self, found: _Divergence) -> bool:
        return any(row.attempt == found.attempt for row in read_diverged(self._run.diverged))

    def _distrust(self, found: _Divergence) -> None:
        """Sets aside what was saved since the loss was off; earlier ones are as they were."""
        self._say_aside(distrust(self._run.checkpoints, found.batches[-1]))

    def _go_back(self, found: _Divergence, seen: str) -> None:
        """Goes back behind the batches, and notes them.

        In this order: a kill in between may cost a rewind, but trusts no checkpoint.
        """
        self._say_aside(go_back(self._run.checkpoints, found.batches[0]))
        step = newest_bundle(self._run.checkpoints).step
        rows = self._rows(found, step)
        add_diverged(self._run.diverged, rows)
        epochs = sorted({row.epoch for row in rows})
        images = sum(len(row.images) for row in rows)
        self._say(
            f"stopped: {seen}; going back to step {step}, rewind {self.count} of "
            f"{self._recipe.training.rewinds}; {_named('step', [row.step for row in rows])} of "
            f"{_named('epoch', epochs)}, {images} images named in {self._run.diverged.name}, "
            f"{'left out from now on' if rows[0].left_out else 'tried again'}"
        )

    def _rows(self, found: _Divergence, rewound_to: int) -> list[DivergedBatch]:
        paths = read_index(Path(self._dataset.root), "train").paths
        steps = steps_per_epoch(len(paths), self._recipe)
        return [
            DivergedBatch(
                attempt=found.attempt,
                what=found.what,
                rewound_to=rewound_to,
                epoch=(step - 1) // steps + 1,
                step=step,
                left_out=self._recipe.training.on_divergence == "rewind-and-skip",
                images=tuple(str(paths[i]) for i in step_positions(len(paths), self._recipe, step)),
            )
            for step in found.batches
        ]

    def _say_aside(self, names: list[str]) -> None:
        if names:
            self._say(f"not gone on from: {', '.join(names)}, kept under {DIVERGED_PREFIX} names")


def _newest_divergence(attempts: Path) -> _Divergence | None:
    """Reads what the ranks of the newest attempt found; None if it did not diverge."""
    newest = newest_attempt(attempts)
    if newest is None:
        return None
    found = [facts for path in newest.glob("failure-*.json") if (facts := _facts(path))]
    # The earliest: what a rank finds, the others meet a step later.
    if not found:
        return None
    first = min(found, key=lambda facts: facts["batches"])
    return _Divergence(newest.name, tuple(first["batches"]), first["what"])


def _facts(failure: Path) -> dict[str, Any] | None:
    """Returns a failure's facts if they are a divergence's with batches."""
    try:
        data = read_json(failure)
    except (InputError, IntegrityError):
        return None
    facts = data.get("facts") if data.get("type") == Diverged.__name__ else None
    return facts if facts and facts["batches"] else None


def _named(what: str, numbers: list[int]) -> str:
    return f"{what}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
