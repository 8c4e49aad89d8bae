"""A process that calls `run_stage`, to be killed: ATTEMPTS FOLDER MARK RANKS."""

from __future__ import annotations

import sys
from pathlib import Path

from mixnet_core.launch import run_stage
from tests.stages_for_launch.acts import Act

attempts, folder, mark, ranks = sys.argv[1:]
run_stage(
    "tests.stages_for_launch.acts",
    Act(name="stay", folder=folder),
    attempts=Path(attempts),
    ranks=int(ranks),
    env={"LAUNCH_TEST_MARK": mark},
)
