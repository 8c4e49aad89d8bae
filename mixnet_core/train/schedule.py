"""Learning rate per optimizer step."""

from __future__ import annotations

from typing import Protocol

from mixnet_core.recipe.kinds import SCHEDULES
from mixnet_core.recipe.sections import Schedule


class ScheduleKind(Protocol):
    """Describes a schedule, as one file of `train.schedules` offers it."""

    def rate(self, step: int, steps: int, *, lr: float, min_lr: float) -> float:
        """Returns the learning rate of one step of the decay.

        Args:
            step: 0 is the first one after the warm-up.
            steps: how many the whole decay has.
            lr: the rate that it falls from.
            min_lr: the rate that it falls to.
        """


def learning_rates(
    schedule: Schedule, *, steps_per_epoch: int, epochs: int, factor: float = 1.0
) -> list[float]:
    """Returns one rate per step: linear warm-up from 0, the named decay, then `min_lr`.

    MindCV's rule: step 0 has rate 0, the first step after the warm-up has `lr`.

    Args:
        schedule: the recipe's section.
        steps_per_epoch: optimizer steps.
        epochs: of the whole training.
        factor: what every rate is multiplied by; see `Recipe.lr_factor`.
    """
    kind: ScheduleKind = SCHEDULES.load(schedule.name)
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    decay = round(schedule.decay_epochs * steps_per_epoch)
    lr, min_lr = schedule.lr * factor, schedule.min_lr * factor
    rates = []
    for step in range(epochs * steps_per_epoch):
        if step < warmup:
            rates.append(lr * step / warmup)
        elif step - warmup < decay:
            rates.append(kind.rate(step - warmup, decay, lr=lr, min_lr=min_lr))
        else:
            rates.append(min_lr)
    return rates
