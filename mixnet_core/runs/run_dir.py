"""Every path inside a workspace and inside a run, named once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mixnet_core.errors import InputError
from mixnet_core.storage.uris import shown

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def checked_name(name: str, what: str) -> str:
    """Returns a run's or release's name, which is safe as one path component and one object key.

    Args:
        what: kind of the thing, for the error.

    Raises:
        InputError: it is not 1 to 100 of a-z 0-9 . _ - with a letter or digit first.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{what} {shown(name)!r} is not a usable name: expected 1 to 100 of a-z 0-9 . _ - "
            "starting with a letter or digit"
        )
    return name


def is_name(name: str) -> bool:
    """Tells whether `checked_name` takes a name."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class Workspace:
    """Names the paths of one user's datasets, weights, runs and local releases."""

    root: Path

    @property
    def datasets(self) -> Path:
        """Returns the folder of prepared datasets."""
        return self.root / "datasets"

    @property
    def imagenet(self) -> Path:
        """Returns the folder that ImageNet's archives are unpacked to by default."""
        return self.root / "imagenet"

    @property
    def weights(self) -> Path:
        """Returns the folder of fetched weights."""
        return self.root / "weights"

    @property
    def releases(self) -> Path:
        """Returns the folder that is the registry by default."""
        return self.root / "releases"

    def run(self, name: str) -> RunDir:
        """Returns the folder of a run, which need not be there.

        Raises:
            InputError: the name is unusable.
        """
        return RunDir(self.root / "runs" / checked_name(name, "run"))


@dataclass(frozen=True)
class RunDir:
    """Names the paths of one execution of a recipe."""

    root: Path

    @property
    def name(self) -> str:
        """Returns the run's name."""
        return self.root.name

    @property
    def recipe(self) -> Path:
        """Returns the path of the recipe in full, which is written before anything else."""
        return self.root / "recipe.yaml"

    @property
    def metrics(self) -> Path:
        """Returns the path of JSON lines, one per logged step and epoch; see `train.metrics`."""
        return self.root / "metrics.jsonl"

    @property
    def prometheus(self) -> Path:
        """Returns the path of the newest figures as Prometheus reads them; see `train.recorder`."""
        return self.root / "metrics.prom"

    @property
    def unreadable(self) -> Path:
        """Returns the path of JSON lines, one per unreadable image; see `data.unreadable`."""
        return self.root / "unreadable.jsonl"

    def unreadable_on(self, host: int) -> Path:
        """Returns the path of the same of the ranks of a host, from 0; host 0's is `unreadable`."""
        name = self.unreadable
        return name if host == 0 else name.with_name(f"{name.stem}-host-{host}{name.suffix}")

    @property
    def diverged(self) -> Path:
        """Returns the path of JSON lines, one per batch at which training diverged and went back.

        See `runs.diverged`.
        """
        return self.root / "diverged.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Returns the folder of bundles; see `checkpoints.bundle`."""
        return self.root / "checkpoints"

    @property
    def means(self) -> Path:
        """Returns the folder with one folder per mean of checkpoints; see `stages.policies`."""
        return self.root / "means"

    @property
    def graphs(self) -> Path:
        """Returns the folder of compiled graphs, for the next start; see `train.graph_cache`."""
        return self.root / "graphs"

    @property
    def report_json(self) -> Path:
        """Returns the path of the report as data."""
        return self.root / "report.json"

    @property
    def report_page(self) -> Path:
        """Returns the path of the report as HTML that needs no other file."""
        return self.root / "report.html"

    @property
    def predictions(self) -> Path:
        """Returns the path of the val split's predictions; see `evaluate.prediction_table`."""
        return self.root / "answers.csv"

    @property
    def seen(self) -> Path:
        """Returns the path of the digests of what training and selection saw; see `data.seen`."""
        return self.root / "seen.bin"

    @property
    def report_markdown(self) -> Path:
        """Returns the path of the report as Markdown."""
        return self.root / "report.md"

    @property
    def described(self) -> Path:
        """Returns the folder of what a release says of itself; see `stages.described`."""
        return self.root / "described"

    @property
    def exports(self) -> Path:
        """Returns the folder of files for other runtimes; see `exports.making`."""
        return self.root / "exports"

    def record(self, stage: str) -> Path:
        """Returns the path of a finished stage's inputs and result; see `runs.records`."""
        return self.root / "stages" / f"{stage}.json"

    @property
    def lock(self) -> Path:
        """Returns the path of the lock of whoever works on the run; see `records.exclusive`."""
        return self.root / ".lock"

    @property
    def place(self) -> Path:
        """Returns the path of what tells this folder from others of the run; see `runs.turns`."""
        return self.root / ".place"

    @property
    def hosts(self) -> Path:
        """Returns the folder by which several hosts train together; see `runs.lease`."""
        return self.root / "hosts"

    def attempts(self, stage: str) -> Path:
        """Returns the folder with one folder per attempt of a job: request, result, logs."""
        return self.root / "attempts" / stage

    def progress(self, stage: str) -> Path:
        """Returns the path of JSON lines that a stage's job appends to while it works."""
        return progress_of(self.attempts(stage))


def progress_of(attempts: Path) -> Path:
    """Returns the progress file of the jobs whose attempts stand in a folder.

    Args:
        attempts: as `RunDir.attempts`, or a folder outside of any run.
    """
    return attempts / "progress.jsonl"


def newest_attempt(attempts: Path) -> Path | None:
    """Returns the folder of a job's newest attempt; None if there was none.

    Args:
        attempts: as `RunDir.attempts`.
    """
    folders = [path for path in attempts.glob("attempt-*") if path.name[8:].isdigit()]
    return max(folders, key=lambda path: int(path.name[8:]), default=None)
