"""The smallest real job: MixNet-S on a few scanned digits, trained, measured and published."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
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


def copied(job: FinishedJob, folder: Path) -> Path:
    """Copies all but what another of pytest's workers may be writing there; returns the copy."""
    return shutil.copytree(job.folder, folder, ignore=shutil.ignore_patterns("exports"))


@pytest.fixture(scope="session")
def finished_job(tmp_path_factory: pytest.TempPathFactory) -> FinishedJob:
    """All stages on one rank; tests must not change it. pytest's workers share it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "finished-job"
    folder.mkdir(exist_ok=True)
    arguments = ("digits", "--run=tiny", "--epochs=2", "--ranks=1", *options())
    printed, said = folder / "printed.json", folder / "said.txt"
    with (folder / "lock").open("w") as lock:
        # Who comes second waits for the first, or makes it if that one failed.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            done = mixnet("run", *arguments, "--json", cwd=folder)
            assert done.returncode == 0, done.stderr
            said.write_text(done.stderr)
            printed.write_text(done.stdout)
    return FinishedJob(folder, arguments, json.loads(printed.read_text()), said.read_text())
