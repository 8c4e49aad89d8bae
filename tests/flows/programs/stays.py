"""A flow that stays until a file is there: what a training is to Prefect, in milliseconds."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
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


@flow(name="late-sigterm")
@guarded
def late_sigterm() -> str:
    """Is interrupted between the end of its body and its last state."""
    threading.Thread(target=_interrupt_when_it_is_out_of, args=("guarded.py",)).start()
    return "done"


def _interrupt_when_it_is_out_of(file: str) -> None:
    main = threading.main_thread().ident
    assert main is not None
    while any(
        frame.f_code.co_filename.endswith(file)
        for frame, _ in traceback.walk_stack(sys._current_frames()[main])
    ):
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGTERM)
