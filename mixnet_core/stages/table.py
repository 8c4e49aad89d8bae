"""The stages in their order: what each does, and which failures are worth another attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mixnet_core.stages import (
    accept,
    check,
    export,
    fetch,
    prepare,
    publish,
    select,
    train,
    validate,
)


@dataclass(frozen=True)
class Retries:
    """When a stage is tried again by whoever orchestrates it, after an error that says it may help.

    Attributes:
        delays: seconds before the second attempt, the third, ...
        spread: share of a delay that is added at random, so that many runs do not come at once.
        reason: which failures these delays outlast.
    """

    delays: tuple[float, ...]
    reason: str
    spread: float = 0.0


@dataclass(frozen=True)
class Stage:
    """A stage by name.

    Attributes:
        run: the plain function, from a `context.Context` and what the stages before left.
        help: what it does, in a line.
    """

    name: str
    run: Callable[..., Any]
    help: str
    retries: Retries


CHECK = Stage(
    "check",
    check.check,
    "Say before the work what would end it: packages, devices, disk, data, permissions.",
    Retries(
        (5, 10), "a storage service that restarts; a longer outage is to be said before the work"
    ),
)
PREPARE = Stage(
    "prepare",
    prepare.prepare,
    "Check, split and index the recipe's images.",
    Retries(
        (10, 20, 40),
        "a download server that turns clients away, which several runs may have met",
        spread=0.5,
    ),
)
FETCH = Stage(
    "fetch",
    fetch.fetch,
    "Fetch and verify the weights that the recipe starts from.",
    Retries(
        (30, 60),
        "fetching itself tries four times within seconds, so this is for real outages",
        spread=0.5,
    ),
)
TRAIN = Stage(
    "train",
    train.train,
    "Train on all ranks, resuming from the newest checkpoint.",
    Retries(
        (300,),
        "training starts itself again (`devices.restarts`), this is for what outlasts its pauses, "
        "and for another process that works on the run",
    ),
)
SELECT = Stage(
    "select",
    select.select,
    "Take the checkpoint that the recipe's policy says.",
    Retries((5, 10), "as for training, a killed process is all that can pass"),
)
VALIDATE = Stage(
    "validate",
    validate.validate,
    "Measure the chosen checkpoint on val; write the report.",
    Retries((5, 10), "as select"),
)
ACCEPT = Stage(
    "accept",
    accept.accept,
    "Decide whether it is good enough to be published.",
    Retries((30, 60), "as fetch, for the release that it is measured against", spread=0.5),
)
# Where the recipe asks for it, between accept and publish: not one of the seven.
EXPORT = Stage(
    "export",
    export.export,
    "Write the recipe's formats for other runtimes, each proven on val.",
    Retries((5, 10), "as select"),
)
PUBLISH = Stage(
    "publish",
    publish.publish,
    "Publish checkpoint, recipe and report as a release.",
    Retries(
        (10, 20, 40, 80, 160),
        "after hours of training it is worth outlasting a storage service's restart; what was "
        "uploaded already is not uploaded again",
        spread=0.5,
    ),
)

# The seven, in the order of the work.
STAGES = (PREPARE, FETCH, TRAIN, SELECT, VALIDATE, ACCEPT, PUBLISH)
