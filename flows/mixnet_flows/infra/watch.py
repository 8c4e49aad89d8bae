"""Beside a worker: sets right what the server believes of this host's flow runs, until Ctrl-C.

    python -m mixnet_flows.infra.watch

What is true is on the host: a flow run's process lives, or it does not (`flow_run_notes`).

    gone, the server says Running     Crashed, and the run goes on by itself: --go-on times at most
    gone, Crashed                     it goes on by itself, as above
    gone, Cancelling                  Cancelled
    lives, Cancelling for 90 s        its process is ended
    Pending, and never began          scheduled again, which frees its place in the queue

Nothing is set over a final state but the Crashed that it goes on from. Where a whole host vanishes,
nobody watches: zombies.yaml calls its runs Crashed after half an hour.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from prefect.states import AwaitingRetry, Cancelled, Crashed

from mixnet_core.errors import MixnetError
from mixnet_flows.flow_run_notes import Note, drop_note, notes_folder, taken_notes
from mixnet_flows.infra.setup import POOL
from mixnet_flows.this_host import NAME_VARIABLE

log = logging.getLogger(__name__)

GO_ON = 10
LOOK_SECONDS = 15.0
PENDING_SECONDS = 300.0
# Prefect's own cancel gives a process 30 s.
CANCELLING_SECONDS = 90.0
_KILL_SECONDS = 30.0
# A worker says twice that a run crashed, some seconds apart. Meanwhile another worker could have
# taken the run: called Crashed again it would be scheduled again, and be begun twice.
SETTLE_SECONDS = 5.0
# A worker on another host that is online looks after its own; but nothing is pending for so long.
_PENDING_ELSEWHERE = 6
# Of every process that a worker starts for a flow run.
_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
# What the states that this module sets begin with: it counts them.
_GOES_ON = "goes on by itself"


@dataclass
class Watch:
    """Looks at this host's flow runs.

    Attributes:
        worker: name of this host's worker.
        go_on: how often a run is scheduled again at most.
        pending_seconds: how long a run may take from Pending to its start.
        cancelling_seconds: how long from Cancelling to the end of its process.
        settle_seconds: how long a run stays Crashed before it goes on.
        gone: runs whose process was gone at the look before. One look could come between the end
            of a process and the state that its worker sets.
        ended: when a process was asked to end, by run.
        seen: since when a state that lasts is seen, by its id. That a state says when it was set
            does not help: it is the server's clock that says so.
    """

    folder: Path
    worker: str
    go_on: int = GO_ON
    pending_seconds: float = PENDING_SECONDS
    cancelling_seconds: float = CANCELLING_SECONDS
    settle_seconds: float = SETTLE_SECONDS
    gone: set[UUID] = field(default_factory=set)
    ended: dict[UUID, float] = field(default_factory=dict)
    seen: dict[UUID, float] = field(default_factory=dict)

    def look(self, client: SyncPrefectClient) -> None:
        """Sets right what is wrong now.

        What the server refuses of one run keeps no other from being looked at.

        Raises:
            httpx.HTTPError, PrefectHTTPStatusError: the server is away, or refused something.
        """
        gone: set[UUID] = set()
        refused: list[PrefectHTTPStatusError] = []
        looked: set[UUID] = set()
        with taken_notes(self.folder) as notes:
            for note in notes:
                if not note.alive:
                    gone.add(note.flow_run)
                try:
                    done = self._noted(client, note, looked)
                except ObjectNotFound:
                    # Somebody deleted it.
                    done = not note.alive
                except PrefectHTTPStatusError as error:
                    refused.append(error)
                    continue
                if done:
                    drop_note(self.folder, note.flow_run)
                    gone.discard(note.flow_run)
        self.gone = gone
        self._pending(client, {note.flow_run for note in notes if note.alive}, looked)
        self.seen = {state: since for state, since in self.seen.items() if state in looked}
        if refused:
            raise refused[0]

    def _noted(self, client: SyncPrefectClient, note: Note, looked: set[UUID]) -> bool:
        """Looks at a run of which there is a note; returns whether that is done with."""
        run = client.read_flow_run(note.flow_run)
        if run.state is None:
            return False
        seconds = self._seen_for(run.state, looked)
        if note.alive:
            self._living(note, run.state, seconds)
            return False
        if run.state.is_crashed() and seconds < self.settle_seconds:
            return False
        return note.flow_run in self.gone and self._gone(client, note, run, run.state)

    def _seen_for(self, state: State, looked: set[UUID]) -> float:
        """Returns for how many seconds a state was seen, while this host was awake."""
        looked.add(state.id)
        now = time.monotonic()
        return now - self.seen.setdefault(state.id, now)

    def _living(self, note: Note, state: State, seconds: float) -> None:
        """Ends a process whose run is to be cancelled and which nobody told.

        The worker is gone, or has stopped looking: it does for good after some minutes without a
        server.
        """
        if not (state.is_cancelling() and seconds > self.cancelling_seconds and note.pid):
            return
        if not _works_on(note.pid, note.flow_run):
            log.warning("%s is Cancelling, and its process is not seen from here", note.flow_run)
            return
        asked = self.ended.setdefault(note.flow_run, time.monotonic())
        late = time.monotonic() - asked > _KILL_SECONDS
        log.warning("%s is Cancelling for %.0f s: ending its process", note.flow_run, seconds)
        with suppress(ProcessLookupError):
            os.kill(note.pid, signal.SIGKILL if late else signal.SIGTERM)

    def _gone(self, client: SyncPrefectClient, note: Note, run: FlowRun, state: State) -> bool:
        """Sets the state of a run whose process is gone; returns whether its note is done with."""
        self.ended.pop(note.flow_run, None)
        host = socket.gethostname()
        if note.run_count not in (0, run.run_count):
            # It was begun anew since, maybe on another host.
            return True
        if state.is_scheduled() or state.is_pending():
            # It will be begun anew. Until then its worker may say once more that it crashed.
            return False
        if not (state.is_running() or state.is_cancelling() or state.is_crashed()):
            return True
        if note.cancelled or state.is_cancelling() or self._was_cancelling(client, run, state):
            text = f"cancelled; its process on {host} is gone"
            client.set_flow_run_state(run.id, Cancelled(message=text), force=True)
            log.warning("%s: %s", run.name, text)
            return True
        if state.is_running():
            text = f"its process on {host} is gone: it was killed, or the host was restarted"
            if not _accepted(client, run, Crashed(message=text)):
                return False
            log.warning("%s: %s", run.name, text)
        return not self._again(client, run)

    def _was_cancelling(self, client: SyncPrefectClient, run: FlowRun, state: State) -> bool:
        """Tells whether a run was asked to cancel before it was called Crashed by its own end."""
        if not state.is_crashed():
            return False
        before = sorted(client.read_flow_run_states(run.id), key=lambda each: each.timestamp)
        types = [each.type for each in before if each.type != StateType.CRASHED]
        return bool(types) and types[-1] == StateType.CANCELLING

    def _pending(self, client: SyncPrefectClient, noted: set[UUID], looked: set[UUID]) -> None:
        """Schedules runs again that a worker took and whose process never began."""
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(
                {"state": {"type": {"any_": ["PENDING"]}}}
            ),
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [POOL]}}),
        )
        waits = {run.id: self._seen_for(run.state, looked) for run in runs if run.state}
        late = [
            run
            for run in runs
            if run.id not in noted and waits.get(run.id, 0.0) > self.pending_seconds
        ]
        if not late:
            return
        online = {
            worker.name
            for worker in client.read_workers_for_work_pool(POOL)
            if worker.status == "ONLINE"
        }
        here = _flow_runs_of_processes()
        for run in late:
            worker = run.labels.get("prefect.worker.name")
            elsewhere = worker in online and worker != self.worker
            patience = self.pending_seconds * (_PENDING_ELSEWHERE if elsewhere else 1)
            # Somebody may delete it meanwhile.
            with suppress(ObjectNotFound):
                if run.id not in here and waits[run.id] > patience:
                    self._again(client, run)

    def _again(self, client: SyncPrefectClient, run: FlowRun) -> bool:
        """Schedules a run again, unless it was often enough; returns whether it did."""
        times = 1 + sum(
            (state.message or "").startswith(_GOES_ON)
            for state in client.read_flow_run_states(run.id)
        )
        if times > self.go_on or run.deployment_id is None:
            text = f"it went on by itself {times - 1} times: `prefect flow-run retry {run.id}`"
            if run.state is not None and run.state.is_pending():
                _accepted(client, run, Crashed(message=f"it never began; {text}"))
            log.warning("%s stays Crashed, %s", run.name, text)
            return False
        text = f"{_GOES_ON}, {times} of {self.go_on} times"
        # With the time that it had: it is before those in its queue that came later.
        state: State = AwaitingRetry(scheduled_time=run.expected_start_time, message=text)
        accepted = _accepted(client, run, state)
        if accepted:
            log.warning("%s %s", run.name, text)
        return accepted


def _accepted(client: SyncPrefectClient, run: FlowRun, state: State) -> bool:
    """Proposes a state, which the server refuses over a final one."""
    return client.set_flow_run_state(run.id, state).status == SetStateStatus.ACCEPT


def _works_on(pid: int, flow_run: UUID) -> bool:
    """Tells whether a process is a flow run's.

    A note may come from a container beside this one, whose numbers of processes are others.
    """
    with suppress(psutil.Error):
        return psutil.Process(pid).environ().get(_RUN_VARIABLE) == str(flow_run)
    return False


def _flow_runs_of_processes() -> set[UUID]:
    """Finds the flow runs that processes of this host are started for, begun or not."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, ValueError):
            found.add(UUID(process.environ().get(_RUN_VARIABLE, "")))
    return found


def watch(looker: Watch, seconds: float) -> None:
    """Looks for ever; a server that is away is waited for."""
    away = False
    while True:
        try:
            with get_client(sync_client=True) as client:
                looker.look(client)
            if away:
                log.warning("the server is back")
            away = False
        except (httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound, MixnetError) as error:
            if not away:
                log.warning("%s: %s", type(error).__name__, error)
            away = True
        time.sleep(seconds)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mixnet_flows.infra.watch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--worker",
        default=os.environ.get(NAME_VARIABLE) or socket.gethostname(),
        help=f"name of this host's worker; ${NAME_VARIABLE}, else the host's",
    )
    parser.add_argument(
        "--go-on", type=int, default=GO_ON, help="times that a run goes on by itself at most"
    )
    parser.add_argument(
        "--pending-seconds",
        type=float,
        default=PENDING_SECONDS,
        help="how long a run may be Pending",
    )
    parser.add_argument(
        "--cancelling-seconds",
        type=float,
        default=CANCELLING_SECONDS,
        help="how long a run may be Cancelling",
    )
    parser.add_argument("--seconds", type=float, default=LOOK_SECONDS, help="between two looks")
    options = parser.parse_args(argv)
    if not PREFECT_API_URL.value():
        parser.error("PREFECT_API_URL is not set: give the server's URL")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        looker = Watch(
            notes_folder(),
            options.worker,
            options.go_on,
            options.pending_seconds,
            options.cancelling_seconds,
        )
        watch(looker, options.seconds)
    except MixnetError as error:
        sys.stderr.write(f"watch: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    raise AssertionError("unreachable")


if __name__ == "__main__":
    raise SystemExit(main())
