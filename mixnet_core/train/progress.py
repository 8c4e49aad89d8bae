"""How training goes: counts, metrics rows, the check that the loss is a number, and checkpoints."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
from mindspore import Tensor, nn

from mixnet_core.checkpoints.bundle import complete_bundles, prune, read_contents, write_bundle
from mixnet_core.checkpoints.store import save_into
from mixnet_core.errors import StageFailed
from mixnet_core.recipe import Recipe
from mixnet_core.run_dir import RunDir
from mixnet_core.train.metrics import MetricsLog
from mixnet_core.train.ranks import Ranks
from mixnet_core.values import Checkpoint, TrainedRun


class Progress:
    """Every rank counts and checks its loss; only rank 0 writes rows and checkpoints.

    Args:
        start: the checkpoint that training resumed from.
        rates: the learning rate of every step.
        compiled: whether the graph of an earlier start is used.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: RunDir,
        ranks: Ranks,
        *,
        rates: list[float],
        start: Checkpoint | None,
        compiled: bool,
    ) -> None:
        self._recipe, self._run, self._ranks = recipe, run, ranks
        self._rates = rates
        self._start_step = start.step if start else 0
        self._step = self._start_step
        self._loss = read_contents(Path(start.path)).loss if start else math.nan
        self._losses: list[Tensor] = []
        self._epoch_losses: list[float] = []
        self._log = MetricsLog(run.metrics, step=self._step) if ranks.writes else None
        self._created = self._epoch_began = time.monotonic()
        # Set when the first step is over: what comes before is compilation.
        self._compiled: float | None = None
        self._logged: tuple[int, float] | None = None
        self._row(
            "start",
            epochs=recipe.training.epochs,
            steps=len(rates),
            ranks=ranks.count,
            images_per_step=recipe.training.global_batch,
            compiled=compiled,
        )

    def stepped(self, epoch: int, loss: Tensor) -> None:
        """Counts a step of the 0-based `epoch`. `loss` is this rank's mean, a scalar.

        Raises:
            StageFailed: the loss is not finite; training again would only repeat it.
        """
        self._step += 1
        self._losses.append(loss)
        if self._compiled is None:
            self._fetch()
            self._compiled = time.monotonic()
            self._logged = (self._step, self._compiled)
            self._row("compiled", seconds=round(self._compiled - self._created, 3))
        elif self._step % self._recipe.training.log_every_steps == 0:
            self._log_step(epoch)

    def finished(self, epoch: int) -> None:
        """Closes an epoch. Raises StageFailed as `stepped` does."""
        self._fetch()
        self._loss = float(np.mean(self._epoch_losses))
        self._epoch_losses = []
        now = time.monotonic()
        self._row(
            "epoch", epoch=epoch + 1, loss=self._loss, seconds=round(now - self._epoch_began, 3)
        )
        self._epoch_began = now

    def save(self, epoch: int, net: nn.Cell, optimizer: nn.Optimizer) -> None:
        """Writes a checkpoint of the finished 0-based `epoch`, then drops the oldest."""
        if not self._ranks.writes:
            return
        saved = write_bundle(
            self._run.checkpoints,
            step=self._step,
            epoch=epoch + 1,
            loss=self._loss,
            save=lambda folder: save_into(folder, net, optimizer),
        )
        prune(self._run.checkpoints, self._recipe.training.keep_checkpoints)
        self._row("checkpoint", epoch=epoch + 1, path=saved.path)

    def result(self, began: float) -> TrainedRun:
        """What training left. `began`: `time.monotonic()` when this attempt started."""
        if self._log is not None:
            self._log.close()
        return TrainedRun(
            run_dir=str(self._run.root),
            # Only rank 0's result is kept; the others would read while it may still delete.
            checkpoints=tuple(complete_bundles(self._run.checkpoints)) if self._log else (),
            steps=self._step,
            epochs=self._recipe.training.epochs,
            loss=self._loss,
            ranks=self._ranks.count,
            seconds=round(time.monotonic() - began, 1),
            images_per_second=round(self._speed(self._start_step + 1, self._compiled), 1),
            resumed_from_step=self._start_step,
        )

    def _log_step(self, epoch: int) -> None:
        mean = self._fetch()
        since_step, since = self._logged or (self._step, None)
        self._row(
            "step",
            epoch=epoch + 1,
            loss=mean,
            lr=self._rates[self._step - 1],
            images_per_second=round(self._speed(since_step, since), 1),
        )
        self._logged = (self._step, time.monotonic())

    def _fetch(self) -> float:
        """Mean loss since the last call. Fetched rarely: each fetch makes an accelerator wait."""
        values = [float(loss.asnumpy()) for loss in self._losses]
        self._losses = []
        self._epoch_losses += values
        if not all(math.isfinite(value) for value in values):
            raise StageFailed(
                f"the loss became {next(v for v in values if not math.isfinite(v))} near step "
                f"{self._step} of {self._run.name}: expected a finite number; lower schedule.lr or "
                "lengthen schedule.warmup_epochs",
                retryable=False,
            )
        return float(np.mean(values)) if values else self._loss

    def _speed(self, since_step: int, since: float | None) -> float:
        """Images a second over all ranks."""
        if since is None or self._step <= since_step:
            return 0.0
        images = (self._step - since_step) * self._recipe.training.global_batch
        return images / max(time.monotonic() - since, 1e-9)

    def _row(self, event: str, **values: object) -> None:
        if self._log is not None:
            self._log.row(event, step=self._step, **values)
