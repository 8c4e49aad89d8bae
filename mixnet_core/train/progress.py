"""How training goes: where it stands, metrics rows, what must stop it, and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from mindspore import Tensor

from mixnet_core.checkpoints.bundle import (
    Contents,
    Division,
    Mean,
    Position,
    bundle_folder,
    complete_bundles,
    read_contents,
    write_bundle,
)
from mixnet_core.checkpoints.retention import SCORES, prune, unscored, write_scores
from mixnet_core.data.unreadable import count_unreadable
from mixnet_core.errors import Diverged, JobFailed, MachineError
from mixnet_core.model.ranks import Ranks
from mixnet_core.processes.child import beat, long_stretch, others_wait, still_working
from mixnet_core.processes.full_disk import until_room
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import Score, TrainedRun
from mixnet_core.train.data_wait import DataWait
from mixnet_core.train.leaps import IN_A_ROW, Leaps
from mixnet_core.train.metrics import MetricsLog

ScoreBundle = Callable[[Path], dict[str, Score]]

# A dynamic loss scale that begins at 2^24 has found its size long before.
_MOST_DROPPED_IN_A_ROW = 50
_LEAST_FALL = 0.01
_POLL_SECONDS = 0.02


class Progress:
    """Keeps track of training: every rank counts and checks its loss, rank 0 writes.

    What rank 0 writes are rows of metrics and checkpoints.

    Args:
        recipe: says when rows and checkpoints are due, and when training is given up.
        run: where they are written.
        ranks: which rank this is, of how many.
        classes: how many; guessing among them has a mean loss of log(classes).
        rates: the learning rate of every step.
        resumed_from: of the bundle that training goes on from; None: from the beginning.
        division: how this attempt computes.
        graph_cached: whether the graph of an earlier start is used.
        left_out: steps, from 1, whose batches are not trained on.

    Raises:
        MachineError: the metrics cannot be written.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: RunDir,
        ranks: Ranks,
        *,
        classes: int,
        rates: list[float],
        resumed_from: Contents | None,
        division: Division,
        graph_cached: bool,
        left_out: tuple[int, ...] = (),
    ) -> None:
        self._recipe, self._run, self._ranks = recipe, run, ranks
        # Mean loss where every class is given the same probability, whatever is smoothed.
        self._chance = math.log(classes)
        self._rates, self._division = rates, division
        self._steps_per_epoch = len(rates) // recipe.training.epochs
        self._start = self._at = resumed_from.position if resumed_from else Position()
        self._changes = tuple(resumed_from.changes(division)) if resumed_from else ()
        # Loss of the newest step and whether it was applied, on the device: fetched when the next
        # step is under way.
        self._pending: tuple[Tensor, Tensor] | None = None
        self._dropped_in_a_row = 0
        # Of attempts that ended while they scored. Looked for here: no rank can be so far ahead yet
        # that one of them has a score on some ranks only.
        self._unscored = unscored(run.checkpoints) if resumed_from else []
        self._left_out = frozenset(left_out)
        self._leaps = Leaps(self._chance)
        self.data_wait = DataWait()
        self._log = MetricsLog(run.metrics, step=self._at.step) if ranks.writes else None
        self._created = self._epoch_began = time.monotonic()
        # When the first step was done, by the monotonic clock: what comes before is compilation.
        self._first_step_at: float | None = None
        # The step that speed is measured from, and when it was done.
        self._logged: tuple[int, float] | None = None
        self._row(
            "start",
            epochs=recipe.training.epochs,
            steps=len(rates),
            ranks=ranks.count,
            images_per_step=recipe.training.global_batch,
            compiled=graph_cached,
            changes=self._changes,
        )

    @property
    def step(self) -> int:
        """Counts the steps done."""
        return self._at.step

    @property
    def epoch(self) -> int:
        """Counts the epochs done."""
        return self._at.epoch

    @property
    def epoch_step(self) -> int:
        """Counts the steps done of the running epoch."""
        return self._at.epoch_step

    def leaves_out(self) -> bool:
        """Says whether the next step's batch is to be left out, and then counts that step.

        As of a step whose gradients were dropped, weights and learning rate are as they were.

        Raises:
            Diverged: as `stepped`.
        """
        at = self._at
        if at.step + 1 not in self._left_out:
            return False
        self._fetch()
        at = self._at
        self._at = at.model_copy(update={"step": at.step + 1, "epoch_step": at.epoch_step + 1})
        return True

    def stepped(self, loss: Tensor, applied: Tensor) -> None:
        """Counts a step.

        Args:
            loss: this rank's mean over the step, a scalar.
            applied: whether the update was applied, a bool scalar.

        Raises:
            Diverged: the loss of the step before is not finite or leapt, or too many updates in a
                row were dropped.
        """
        # Only the loss of the step before: asking for the newest would make an accelerator wait.
        self._fetch()
        self._pending = (loss, applied)
        at = self._at
        self._at = at.model_copy(update={"step": at.step + 1, "epoch_step": at.epoch_step + 1})
        if self._first_step_at is None:
            self._fetch()
            self._first_step_at = time.monotonic()
            self._logged = (self._at.step, self._first_step_at)
            self.data_wait.taken()
            self._row("compiled", seconds=round(self._first_step_at - self._created, 3))
        if self._at.step % self._recipe.training.log_every_steps == 0:
            self._log_step()

    def finished(self) -> None:
        """Closes an epoch.

        Raises:
            Diverged: as `stepped`.
            JobFailed: the loss has been no better than guessing for too long.
        """
        self._fetch()
        loss = self._at.epoch_loss.value
        if loss is None:
            first = self._at.step - self._steps_per_epoch + 1
            if self._left_out.issuperset(range(first, self._at.step + 1)):
                raise JobFailed(
                    f"every batch of epoch {self._at.epoch + 1} of {self._run.name} is left out, "
                    f"as {self._run.diverged} says: begin another run with a lower schedule.lr",
                    retryable=False,
                )
            self._stop("the gradients of a whole epoch were not finite and dropped", first)
        epoch = self._at.epoch + 1
        warm = epoch > self._recipe.schedule.warmup_epochs
        best = self._at.best_loss
        # Where epochs are short, the first ones may be far above guessing, and fall steadily.
        falls = best is None or loss < best * (1 - _LEAST_FALL)
        guessing = warm and loss >= self._chance and not falls
        self._at = self._at.model_copy(
            update={
                "epoch": epoch,
                "epoch_step": 0,
                "epoch_loss": Mean(),
                "loss": loss,
                "best_loss": loss if best is None else min(best, loss),
                "chance_epochs": self._at.chance_epochs + 1 if guessing else 0,
            }
        )
        now = time.monotonic()
        self._row(
            "epoch",
            epoch=epoch,
            loss=loss,
            seconds=round(now - self._epoch_began, 3),
            unreadable=count_unreadable(self._run.unreadable),
        )
        self._epoch_began = now
        most = self._recipe.training.chance_epochs
        if most is not None and self._at.chance_epochs >= most:
            raise JobFailed(
                f"run {self._run.name} learns nothing: mean loss {loss:.3f} in epoch {epoch}, "
                f"guessing has {self._chance:.3f}, and {most} epoch(s) did not lower it; lower "
                "schedule.lr, check the labels, or raise training.chance_epochs",
                retryable=False,
            )

    def save_due(self, *, ends: bool = False) -> bool:
        """Says whether the recipe wants a checkpoint of where training stands now.

        Args:
            ends: whether training ends here for now.
        """
        training, at = self._recipe.training, self._at
        if at.epoch_step:
            every = training.checkpoint_every_steps
            # Not the epoch's last step: that one is for `finished` to close first.
            last = at.epoch_step == self._steps_per_epoch
            return (ends or (every is not None and at.epoch_step % every == 0)) and not last
        whole = at.epoch == training.epochs or at.epoch % training.checkpoint_every_epochs == 0
        return ends or whole

    def save(self, save: Callable[[Path], None], score: ScoreBundle | None = None) -> None:
        """Writes a checkpoint, scores it if it is of a whole epoch, then deletes unwanted ones.

        Args:
            save: puts the learner's files into a folder.
            score: called on every rank with the bundle's folder; None: nothing is scored.

        Raises:
            Diverged: the loss, a weight or what it makes of images is not finite.
            MachineError: the disk is full or not writable.
            IntegrityError: the bundle reads back damaged, so that earlier ones are kept.
        """
        self._fetch()
        bundle = bundle_folder(self._run.checkpoints, self._at.step)
        try:
            if self._ranks.writes:
                self._write(bundle, save)
            else:
                _await(bundle)
            beat()
            if score is not None and not self._at.epoch_step:
                self._score(bundle, self._at.epoch, score)
        except JobFailed as error:
            raise _diverged_after(self._at.step, error) from error
        if self._ranks.writes:
            with others_wait():
                keep = self._recipe.training.keep_checkpoints
                prune(self._run.checkpoints, keep, self._recipe.selection)

    def score_missed(self, score: ScoreBundle | None) -> None:
        """Scores, once, the bundles of whole epochs that an earlier attempt did not come to score.

        Without it they would be kept until the end, as what is not known may be the best. To be
        called after the first step: the graph that scores is compiled after the one that trains.

        Args:
            score: as `save`.

        Raises:
            MachineError: the disk is full or not writable.
            IntegrityError: a bundle is damaged.
            Diverged: what a bundle makes of images is not finite.
        """
        missed, self._unscored = self._unscored, []
        if score is None:
            return
        for bundle in missed:
            position = read_contents(bundle).position
            try:
                self._score(bundle, position.epoch, score)
            except JobFailed as error:
                raise _diverged_after(position.step, error) from error

    def _score(self, bundle: Path, epoch: int, score: ScoreBundle) -> None:
        scores = score(bundle)
        if not scores:
            return
        if not self._ranks.writes:
            _await(bundle / SCORES)
            return
        with others_wait():
            self._until_room(lambda: write_scores(bundle, scores))
            for name, found in scores.items():
                self._row("score", epoch=epoch, file=name, **found.model_dump())

    def result(self, began: float) -> TrainedRun:
        """Returns what training left.

        Args:
            began: `time.monotonic()` when this attempt started.

        Raises:
            MachineError: rows of metrics found no room until now.
        """
        assert self._at.loss is not None
        if self._log is not None:
            self._until_room(self._log.flush)
        return TrainedRun(
            run_dir=str(self._run.root),
            # Only rank 0's result is kept; the others would read while it may still delete.
            checkpoints=tuple(complete_bundles(self._run.checkpoints)) if self._log else (),
            steps=self._at.step,
            epochs=self._recipe.training.epochs,
            loss=self._at.loss,
            ranks=self._ranks.count,
            seconds=round(time.monotonic() - began, 1),
            images_per_second=round(self._speed(self._start.step + 1, self._first_step_at), 1),
            resumed_from_step=self._start.step,
            batch=self._recipe.batch_sentence,
            changes=self._changes,
        )

    def _write(self, bundle: Path, save: Callable[[Path], None]) -> None:
        """Writes a checkpoint; the other ranks go on to what they need this one for, and wait."""

        def save_patiently(folder: Path) -> None:
            # MindSpore gives no sign while it writes a file.
            with long_stretch():
                save(folder)

        try:
            with others_wait():
                if self._log is not None:
                    # Rows up to here: a run that goes on from the bundle does not write them again.
                    self._until_room(self._log.flush)
                self._until_room(
                    lambda: write_bundle(
                        self._run.checkpoints,
                        position=self._at,
                        division=self._division,
                        save=save_patiently,
                    )
                )
        except MachineError as error:
            raise MachineError(
                f"{error}; checkpoints before step {self._at.step} are as they were"
            ) from error
        self._row("checkpoint", epoch=self._at.epoch, path=str(bundle))

    def _until_room(self, write: Callable[[], object]) -> None:
        until_room(write, self._recipe.devices.full_disk_seconds)

    def _log_step(self) -> None:
        self._fetch()
        since_step, since = self._logged or (self._at.step, None)
        waited, wait = self.data_wait.taken(), None
        if since is not None and self._at.step > since_step:
            wait = round(min(1.0, waited / max(time.monotonic() - since, 1e-9)), 4)
        self._row(
            "step",
            epoch=self._at.epoch + 1,
            loss=self._at.window_loss.value,
            lr=self._rates[self._at.step - 1],
            images_per_second=round(self._speed(since_step, since), 1),
            data_wait=wait,
        )
        self._at = self._at.model_copy(update={"window_loss": Mean()})
        self._logged = (self._at.step, time.monotonic())

    def _fetch(self) -> None:
        """Adds the pending loss to the means, or stops training."""
        if self._pending is None:
            return
        (loss, applied), self._pending = self._pending, None
        if not bool(applied.asnumpy()):
            self._dropped_in_a_row += 1
            if self._dropped_in_a_row >= _MOST_DROPPED_IN_A_ROW:
                self._stop(
                    f"the gradients of {_MOST_DROPPED_IN_A_ROW} steps in a row were not finite and "
                    "dropped",
                    self._at.step - _MOST_DROPPED_IN_A_ROW + 1,
                )
            return
        self._dropped_in_a_row = 0
        value = float(loss.asnumpy())
        if not math.isfinite(value):
            self._stop(f"the loss became {value}, expected a finite number", self._at.step)
        at = self._at
        if at.step > self._recipe.schedule.warmup_epochs * self._steps_per_epoch:
            first = self._leaps.first_of_leap(at.step, value)
            if first is not None:
                self._stop(f"the loss leapt to {value:.3f}, {IN_A_ROW} steps in a row", first)
        self._at = at.model_copy(
            update={"epoch_loss": at.epoch_loss + value, "window_loss": at.window_loss + value}
        )

    def _stop(self, what: str, first: int) -> NoReturn:
        """Gives up.

        Args:
            what: was seen.
            first: the first step at which it was. Its batch may have done it, or the one before,
                which made the weights that it met.
        """
        raise Diverged(
            f"{what}, at step {self._at.step} of {self._run.name}: lower schedule.lr, lengthen "
            "schedule.warmup_epochs or set optimizer.clip_norm",
            batches=(first - 1, first) if first > 1 else (first,),
            what=f"{what}, at step {self._at.step}",
        )

    def _speed(self, since_step: int, since: float | None) -> float:
        """Returns images per second over all ranks, since a step and the time it was done.

        0.0 if that is not known.
        """
        if since is None or self._at.step <= since_step:
            return 0.0
        images = (self._at.step - since_step) * self._recipe.training.global_batch
        return images / max(time.monotonic() - since, 1e-9)

    def _row(self, event: str, **values: object) -> None:
        if self._log is not None:
            self._log.row(event, step=self._at.step, **values)


def _await(written: Path) -> None:
    """Returns when rank 0 has written a file or folder, however long it waits for room.

    Not in a collective call: those of MindSpore and of Ascend's library give up after minutes.
    """
    while not written.exists():
        still_working()
        time.sleep(_POLL_SECONDS)


def _diverged_after(step: int, error: JobFailed) -> Diverged:
    # A loss is that of the weights before its step: it did not show yet.
    what = f"after step {step}, {error}"
    return Diverged(what, batches=(step,), what=what)
