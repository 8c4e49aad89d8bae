"""Ages as people write them."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from mixnet_core.errors import InputError
from mixnet_core.storage.uris import shown

OlderThanOption = Annotated[
    str | None,
    typer.Option(
        "--older-than", help="Age, as in 90m, 24h or 7d; what is younger stays.", metavar="AGE"
    ),
]

_AGE = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds_of(age: str) -> float:
    """Returns an age in seconds.

    Raises:
        InputError: it is not a number with its unit.
    """
    found = _AGE.fullmatch(age.strip().lower())
    if found is None:
        raise InputError(
            f"{shown(age)!r} is no age: expected a number with s, m, h, d or w, as in 24h"
        )
    return int(found[1]) * _SECONDS[found[2]]
