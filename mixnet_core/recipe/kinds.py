"""What a recipe chooses by name. The names are those of files in other folders.

A recipe is read below all of them: nothing here is imported before a recipe names it.
"""

from __future__ import annotations

from typing import Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from mixnet_core.kinds.kind import Kind

SOURCES: Kind[Any] = Kind("mixnet_core.data.sources", "SOURCE")
OPTIMIZERS: Kind[Any] = Kind("mixnet_core.train.optimizers", "OPTIMIZER")
SCHEDULES: Kind[Any] = Kind("mixnet_core.train.schedules", "SCHEDULE")
ENGINES: Kind[Any] = Kind("mixnet_core.evaluate.engines", "ENGINE")
DEMANDS: Kind[Any] = Kind("mixnet_core.stages.demands", "DEMAND")
POLICIES: Kind[Any] = Kind("mixnet_core.stages.policies", "POLICY")
FORMATS: Kind[Any] = Kind("mixnet_core.exports.formats", "FORMAT")


def one_of(kind: Kind[Any], *more: str) -> BeforeValidator:
    """Makes a field's text the name of one of a kind, or one of `more`."""

    def check(name: object) -> object:
        known = (*more, *kind.names())
        if not isinstance(name, str) or name not in known:
            *others, last = [f"'{item}'" for item in known]
            expected = f"{', '.join(others)} or {last}" if others else last
            raise PydanticCustomError(
                "choice", "Input should be {expected}", {"expected": expected}
            )
        return name

    return BeforeValidator(check)
