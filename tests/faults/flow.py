"""The flow as a worker runs it, in a process to be killed: JSON of its parameters."""

from __future__ import annotations

import json
import sys

from mixnet_flows.mixnet import mixnet

mixnet(**json.loads(sys.argv[1]))
