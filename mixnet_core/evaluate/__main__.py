"""Starts the job of the `evaluate` stage: `python -m mixnet_core.evaluate FOLDER`."""

from __future__ import annotations

from mixnet_core.evaluate.scoring import evaluate
from mixnet_core.processes.child import main
from mixnet_core.processes.requests import EvaluateRequest

if __name__ == "__main__":
    raise SystemExit(main(evaluate, EvaluateRequest))
