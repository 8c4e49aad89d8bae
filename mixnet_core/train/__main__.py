"""One rank of training, as `launch` starts it: `python -m mixnet_core.train ATTEMPT_FOLDER`."""

from __future__ import annotations

from mixnet_core.child import main
from mixnet_core.requests import TrainRequest
from mixnet_core.train.loop import train

if __name__ == "__main__":
    raise SystemExit(main(train, TrainRequest))
