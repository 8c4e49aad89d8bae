"""`flow`: the stages as one command against the same through a server, a worker and its watch.

What the flow costs is a constant (the worker's next poll, the flow's own process, states) and,
while it trains, a thread that shows ticks and writes curves. The first is the difference of whole
commands, the second the ratio of the times between the training's first and last step.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.options import Options, Section
from benchmarks.rounds import markdown, ratios, say, spread
from mixnet_core.errors import TransientError
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.train.metrics import read_metrics
from tests.flows.host import Host, host

BARE, FLOW = "mixnet run", "prefect deployment run"
EPOCHS = 10
_ROUNDS = 3
_LOOK_SECONDS = 5.0
_UNDER_WAY = ("SCHEDULED", "PENDING", "RUNNING")
# As `make serve` has them: a host of tests looks every second.
_POLL = {"PREFECT_WORKER_QUERY_SECONDS": "15", "MIXNET_STATE_SECONDS": "30"}
_WATCH = ("--seconds", "15")


class _Case(NamedTuple):
    seconds: float
    training: float


def measure(options: Options, epochs: int = EPOCHS) -> Section:
    """Both once a round, in turns which is first.

    Raises:
        TransientError: a run did not end well.
    """
    rounds = options.rounds or _ROUNDS
    found: dict[str, list[_Case]] = {BARE: [], FLOW: []}
    with tempfile.TemporaryDirectory() as temporary, host(Path(temporary), **_POLL) as here:
        here.start("worker")
        here.start("watch", *_WATCH)
        for number in range(rounds):
            for name in (BARE, FLOW) if number % 2 == 0 else (FLOW, BARE):
                found[name].append(_run(here, name, f"{name.split()[0]}-{number}", epochs))
                case = found[name][-1]
                say(
                    f"round {number + 1}/{rounds}: {case.seconds:.1f} s, {case.training:.1f} s "
                    f"from the first step to the last, {name}"
                )
    bare = found[BARE]
    rows: list[dict[str, Any]] = []
    table = []
    for name, cases in found.items():
        whole = [case.seconds for case in cases]
        training = [case.training for case in cases]
        against = ratios(training, [case.training for case in bare])
        more = [case.seconds - one.seconds for case, one in zip(cases, bare, strict=True)]
        rows.append({"case": name, "seconds": whole, "training": training, "ratio": against})
        is_base = name == BARE
        least, middle, most = min(more), statistics.median(more), max(more)
        table.append(
            [
                name,
                spread(whole),
                "0" if is_base else f"{middle:.1f} ({least:.1f} - {most:.1f})",
                spread(training),
                "1" if is_base else spread(against),
            ]
        )
    header = ["case", "whole, s", "more, s", "first step to last, s", "ratio"]
    return Section(
        title=f"All stages of digits, {epochs} epochs on two ranks, {rounds} rounds",
        table=markdown(header, table),
        rows=rows,
    )


def _run(here: Host, name: str, run: str, epochs: int) -> _Case:
    workspace = here.deployed.workspace if name == FLOW else Workspace(here.root / "bare")
    began = time.time()
    if name == FLOW:
        parameters = {"recipe": "digits", "run": run, "epochs": epochs, "ranks": 2}
        flow_run = here.deployed.run("mixnet/train", **parameters)
        # Each look costs 40 ms of a core that the ranks compute on, so the end is the state's own.
        while (state := here.deployed.state(flow_run))["type"] in _UNDER_WAY:
            time.sleep(_LOOK_SECONDS)
        well = state["type"] == "COMPLETED"
        ended = datetime.fromisoformat(state["timestamp"]).timestamp()
    else:
        command = [
            *(sys.executable, "-m", "mixnet_core.cli", "run", "digits", f"--run={run}"),
            *(f"--epochs={epochs}", "--ranks=2", f"--workspace={workspace.root}"),
        ]
        done = subprocess.run(command, env=here.environment, capture_output=True, check=False)
        well = done.returncode == 0
        ended = time.time()
    if not well:
        raise TransientError(f"{name} of {run} did not end well")
    return _Case(ended - began, _training_seconds(workspace.run(run)))


def _training_seconds(run: RunDir) -> float:
    times = [row["time"] for row in read_metrics(run.metrics) if row["event"] == "step"]
    return float(times[-1] - times[0])
