"""What keeps a healthy flow run from being called dead, and its end from being lost.

The server knows of a flow run only what reaches it. Heartbeats that come late, or a server that was
away, make it call runs Crashed that are well; and what a run says at its end is lost if nobody
listens. So a run of a deployment

- notes on its host that its process lives (`flow_run_notes`), for `infra.watch`;
- ends at once where another worker has the run by now, as after it was called Crashed in between;
- looks at its own state now and then. Called Crashed, it takes its state back and says so; called
  Cancelled, it ends;
- waits at its end until the server answers, so that its last state arrives.
"""

from __future__ import annotations

import inspect
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.states import Running

from mixnet_core.errors import MachineError
from mixnet_flows.flow_run_notes import change_note, hold_note
from mixnet_flows.impatience import impatient, server_is_away
from mixnet_flows.this_host import NAME_VARIABLE

P = ParamSpec("P")
R = TypeVar("R")
Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

# In the environment of the worker; tests look more often.
LOOK_VARIABLE = "MIXNET_STATE_SECONDS"
_LOOK_SECONDS = 30.0
# What is away longer is no restart: the state is then set right by `infra.watch`, which finds the
# process gone and has the run go through its finished stages again.
_WAIT_SECONDS = 3600.0
_WAIT_POLL_SECONDS = 2.0
# Set by the worker that a flow run is given to, before it starts its process.
_WORKER_LABEL, _POOL_LABEL = "prefect.worker.name", "prefect.work-pool.name"


def guarded(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a flow's body do what this module says, where a worker runs it for a deployment."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if deployment.id is None:
            return function(*args, **kwargs)
        run, log = UUID(flow_run.id), get_run_logger()
        if (other := taken_by_another(run, os.environ.get(NAME_VARIABLE))) is not None:
            log.warning("worker %s has this run by now: it ends here", other)
            # Its state is the other one's: no end of this process is to change it.
            logging.shutdown()
            os._exit(0)
        try:
            hold_note(run, flow_run.run_count)
        except MachineError as error:
            log.warning("whether this run lives cannot be seen on its host: %s", error)
        try:
            with _looking(run, log):
                result = function(*args, **kwargs)
        except Exception:
            _wait_for_server(run, log)
            raise
        _wait_for_server(run, log)
        # Done, and about to say so: Prefect would make Crashed of a SIGTERM that comes until then,
        # and of Completed too. The process ends by itself within moments.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return result

    # Prefect looks the names in annotations up in this module otherwise.
    call.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    call.__annotations__ = inspect.get_annotations(function, eval_str=True)
    return call


def taken_by_another(run: UUID, own: str | None) -> str | None:
    """Returns the worker that a flow run was given to after `own`, whose process this is.

    None where it is this one's, or nobody knows: the server is away, or no worker has that name.
    """
    if not own:
        return None
    try:
        with _impatient_client() as client:
            labels = client.read_flow_run(run).labels
            last = labels.get(_WORKER_LABEL)
            if not last or last == own:
                return None
            # A variable may name another worker than the one that started this process.
            workers = client.read_workers_for_work_pool(str(labels.get(_POOL_LABEL)))
    except Exception:
        return None
    return str(last) if {own, last} <= {worker.name for worker in workers} else None


@contextmanager
def _looking(run: UUID, log: Log) -> Iterator[None]:
    """Looks at the run's state in a thread of its own until the block ends.

    The thread is gone then: it can't set a state after the run's last one.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_look_until, args=(run, log, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _look_until(run: UUID, log: Log, ended: threading.Event) -> None:
    seconds = float(os.environ.get(LOOK_VARIABLE) or _LOOK_SECONDS)
    while not ended.wait(seconds):
        try:
            with _impatient_client() as client:
                seen = client.read_flow_run(run)
                if seen.state is None or ended.is_set():
                    continue
                if seen.state.is_crashed():
                    _take_back(client, run, seen.state, log)
                elif seen.state.is_cancelled():
                    log.warning("this run was called Cancelled: it ends")
                    change_note(run, seen.run_count, cancelled=True)
                    # As Prefect's own cancel; the stage's processes go with it.
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
        except Exception as error:
            # A server that is away is what this is for; the next look finds it.
            log.debug("the run's state was not seen: %s", error)


def _take_back(client: SyncPrefectClient, run: UUID, state: State, log: Log) -> None:
    text = f"it lives, although it was called Crashed ({state.message})"
    client.set_flow_run_state(run, Running(message=text), force=True)
    # The server counts it as another beginning.
    change_note(run, client.read_flow_run(run).run_count)
    log.warning("state Running again: %s", text)


def _wait_for_server(run: UUID, log: Log) -> None:
    """Returns when the server answers, or after an hour: the engine itself waits a minute only."""
    deadline = time.monotonic() + _WAIT_SECONDS
    said = False
    while time.monotonic() < deadline:
        try:
            with _impatient_client() as client:
                client.read_flow_run(run)
            return
        except Exception as error:
            if not server_is_away(error):
                # As of a run that somebody deleted: it does answer.
                return
            if not said:
                said = True
                log.warning("done; waiting for the server to say so: %s", error)
            time.sleep(_WAIT_POLL_SECONDS)


@contextmanager
def _impatient_client() -> Iterator[SyncPrefectClient]:
    """Yields a client that fails at once, where Prefect's own tries again for a minute."""
    with impatient(), get_client(sync_client=True) as client:
        yield client
