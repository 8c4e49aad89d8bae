"""Run as a stage in training's place: training whose rank 0 is killed once, after a given step."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mindspore import Tensor

from mixnet_core.processes.child import current_rank, main
from mixnet_core.processes.requests import TrainRequest
from mixnet_core.runs.values import TrainedRun
from mixnet_core.train.loop import train
from mixnet_core.train.progress import Progress

STEP_VARIABLE = "KILLED_AFTER_STEP"
MARK_VARIABLE = "KILLED_MARK"


def killed_train(request: TrainRequest) -> TrainedRun:
    step, mark = int(os.environ[STEP_VARIABLE]), Path(os.environ[MARK_VARIABLE])
    stepped = Progress.stepped

    def stepped_or_killed(self: Progress, loss: Tensor, applied: Tensor) -> None:
        stepped(self, loss, applied)
        if self._at.step == step and current_rank() == "0" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    Progress.stepped = stepped_or_killed  # type: ignore[method-assign]
    return train(request)


if __name__ == "__main__":
    raise SystemExit(main(killed_train, TrainRequest))
