"""The smallest real job: MixNet-S on a few scanned digits, trained, measured and published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MIXNET = Path(sys.executable).parent / "mixnet"

# One step is four images; an epoch is twelve steps.
SETTINGS: dict[str, Any] = {
    "data.train_limit": 60,
    "data.select_share": 0.2,
    "data.val_share": 0.05,
    "input.image_size": 8,
    "training.global_batch": 4,
    "training.log_every_steps": 2,
    "devices.threads_per_rank": 1,
}


def options(**more: Any) -> list[str]:
    """SETTINGS and more of them as options of `mixnet`; `__` in a key stands for a dot."""
    settings = SETTINGS | {key.replace("__", "."): value for key, value in more.items()}
    return [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]


def mixnet(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real command, as a user would type it in `cwd`."""
    return subprocess.run(
        [str(MIXNET), *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=1200,
    )


@dataclass(frozen=True)
class FinishedJob:
    """A folder with a workspace in it, and what `mixnet run --json` printed."""

    folder: Path
    arguments: tuple[str, ...]
    results: dict[str, Any]
    progress: str

    @property
    def run_dir(self) -> Path:
        return self.folder / "workspace" / "runs" / self.results["run"]


@pytest.fixture(scope="session")
def finished_job(tmp_path_factory: pytest.TempPathFactory) -> FinishedJob:
    """All stages on one rank; tests must not change it."""
    folder = tmp_path_factory.mktemp("finished-job")
    arguments = ("digits", "--run=tiny", "--epochs=2", "--ranks=1", *options())
    done = mixnet("run", *arguments, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return FinishedJob(folder, arguments, json.loads(done.stdout), done.stderr)
