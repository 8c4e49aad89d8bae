"""Rules of computing that changed, by number: what was begun or measured by one keeps to it.

A run's `recipe.yaml` and a release's name their rules; one that names none is from before they had
numbers, so it follows 1. A recipe that is not of a run yet follows the newest.

         1, until 2026-11-27                           2
    decay    BatchNorm's scales and shifts have none       every parameter that the recipe says
             where all parameters are one group
    nesterov ignored on a CPU                              as its formula, on every device
    adamw    epsilon / sqrt(1 - beta2^t) where the         epsilon (arXiv:1711.05101, algorithm 2)
             formula has epsilon
    scale    a dynamic loss scale may fall below 1         it stays at 1, or at what it began with
    rotate   RandAugment of flavour mindcv fills with      with that colour's channels reversed, as
             the mean colour                               MindCV's does
    resize   evaluation's short side is rounded            rounded down, as MindCV and timm do
"""

from __future__ import annotations

from typing import Literal

Rules = Literal[1, 2]
UNNAMED: Rules = 1
NEWEST: Rules = 2


def said_of(rules: int) -> str | None:
    """Says in a line what computes otherwise than a new run would; None where nothing does."""
    if rules >= NEWEST:
        return None
    return (
        "computes by rules 1, as it was begun: BatchNorm's scales and shifts may not decay, "
        "nesterov does nothing on a CPU, evaluation rounds the resized side; a new run computes "
        f"by rules {NEWEST}"
    )
