"""Run as a stage in training's place: training in which something makes the loss go wrong.

    nan     a rank's images of a step are no numbers, as of a damaged batch or a card that errs
    blow    the classifier's weights are 1,024 times what they were before a step, on all ranks

Once, or whenever that step is done.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mindspore import Tensor

from mixnet_core.data.batches import TrainingBatch
from mixnet_core.processes.child import current_rank, main
from mixnet_core.processes.requests import TrainRequest
from mixnet_core.runs.values import TrainedRun
from mixnet_core.train import leaps, loop, progress
from mixnet_core.train.learner import Learner

KIND_VARIABLE = "DIVERGING_KIND"
STEP_VARIABLE = "DIVERGING_STEP"
RANK_VARIABLE = "DIVERGING_RANK"
# A file that is there afterwards, with the rank's number at its end; none: always.
MARK_VARIABLE = "DIVERGING_MARK"
# So that a test need not train for hundreds of steps.
WINDOW, IN_A_ROW = 16, 4
STEPS_PER_EPOCH = 12


def diverging_train(request: TrainRequest) -> TrainedRun:
    kind, wanted = os.environ[KIND_VARIABLE], int(os.environ[STEP_VARIABLE])
    mark = os.environ[MARK_VARIABLE] and Path(f"{os.environ[MARK_VARIABLE]}-{current_rank()}")
    stepped = Learner.step
    leaps.WINDOW, leaps.IN_A_ROW, progress.IN_A_ROW = WINDOW, IN_A_ROW, IN_A_ROW

    def step(
        self: Learner, micro_batches: Sequence[TrainingBatch], *, epoch: int, step: int
    ) -> tuple[Tensor, Tensor]:
        due = epoch * STEPS_PER_EPOCH + step + 1 == wanted and not (mark and mark.exists())
        if due and mark:
            mark.touch()
        if due and kind == "nan" and current_rank() == os.environ[RANK_VARIABLE]:
            micro_batches = [
                replace(batch, images=batch.images * np.float32(np.nan)) for batch in micro_batches
            ]
        if due and kind == "blow":
            weight = self._net.classifier.weight
            weight.set_data(Tensor(weight.asnumpy() * np.float32(1024)))
        return stepped(self, micro_batches, epoch=epoch, step=step)

    Learner.step = step  # type: ignore[method-assign]
    return loop.train(request)


if __name__ == "__main__":
    raise SystemExit(main(diverging_train, TrainRequest))
