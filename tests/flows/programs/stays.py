"""A flow that stays until a file is there: what a training is to Prefect, in milliseconds."""

from __future__ import annotations

import time
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from mixnet_flows.guarded import guarded


@task(cache_policy=NO_CACHE)
def stay(until: str, begun: str) -> None:
    with Path(begun).open("a") as file:
        file.write("begun\n")
    while not Path(until).exists():
        time.sleep(0.1)


@flow(name="stays")
@guarded
def stays(until: str, begun: str) -> str:
    stay(until, begun)
    return "done"


@flow(name="stays-unguarded")
def stays_unguarded(until: str, begun: str) -> str:
    stay(until, begun)
    return "done"
