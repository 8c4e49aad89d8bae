"""One rank of training, as it is started: `python -m mixnet_core.train ATTEMPT_FOLDER`."""

from __future__ import annotations

from mixnet_core.processes.child import main
from mixnet_core.processes.requests import TrainRequest
from mixnet_core.train.loop import train

if __name__ == "__main__":
    raise SystemExit(main(train, TrainRequest))
