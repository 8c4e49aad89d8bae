"""Learning rate per optimizer step."""

from __future__ import annotations

import math

from mixnet_core.recipe_sections import Schedule


def learning_rates(
    schedule: Schedule, *, steps_per_epoch: int, epochs: int, factor: float = 1.0
) -> list[float]:
    """One rate a step: linear warm-up from 0, half a cosine from `lr` to `min_lr`, then constant.

    MindCV's rule: step 0 has rate 0, the first step after the warm-up has `lr`.

    Args:
        factor: of every rate; see `Recipe.lr_factor`.
    """
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    decay = round(schedule.decay_epochs * steps_per_epoch)
    lr, min_lr = schedule.lr * factor, schedule.min_lr * factor
    half = (lr - min_lr) / 2
    rates = []
    for step in range(epochs * steps_per_epoch):
        if step < warmup:
            rates.append(lr * step / warmup)
        elif step - warmup < decay:
            rates.append(min_lr + half * (1 + math.cos(math.pi * (step - warmup) / decay)))
        else:
            rates.append(min_lr)
    return rates
