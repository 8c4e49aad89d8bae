"""Every path inside a workspace and inside a run, named once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mixnet_core.errors import InputError
from mixnet_core.storage.uris import shown

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def checked_name(name: str, what: str) -> str:
    """A run's or release's name, safe as one path component and one object key.

    Raises:
        InputError: it is not 1 to 100 of a-z 0-9 . _ - with a letter or digit first.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{what} {shown(name)!r} is not a usable name: expected 1 to 100 of a-z 0-9 . _ - "
            "starting with a letter or digit"
        )
    return name


@dataclass(frozen=True)
class Workspace:
    """Where one user's datasets, weights, runs and local releases live."""

    root: Path

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def imagenet(self) -> Path:
        """Default place to unpack ImageNet's archives to."""
        return self.root / "imagenet"

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    @property
    def releases(self) -> Path:
        """Default place to publish to."""
        return self.root / "releases"

    def run(self, name: str) -> RunDir:
        return RunDir(self.root / "runs" / checked_name(name, "run"))


@dataclass(frozen=True)
class RunDir:
    """One execution of a recipe."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def recipe(self) -> Path:
        """The effective recipe, written before anything else."""
        return self.root / "recipe.yaml"

    @property
    def metrics(self) -> Path:
        """JSON lines, a row each logged step and each epoch; see `train.metrics`."""
        return self.root / "metrics.jsonl"

    @property
    def unreadable(self) -> Path:
        """JSON lines, one an image that training could not read; see `data.unreadable`."""
        return self.root / "unreadable.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def means(self) -> Path:
        """A folder for each mean of checkpoints that selection made; see `stages.policies`."""
        return self.root / "means"

    @property
    def graphs(self) -> Path:
        """What MindSpore compiled, for the run's next start; see `train.graph_cache`."""
        return self.root / "graphs"

    @property
    def report_json(self) -> Path:
        return self.root / "report.json"

    @property
    def report_page(self) -> Path:
        """HTML that needs no other file."""
        return self.root / "report.html"

    @property
    def answers(self) -> Path:
        """Returns the path of the val split's predictions; see `evaluate.prediction_table`."""
        return self.root / "answers.csv"

    @property
    def report_markdown(self) -> Path:
        return self.root / "report.md"

    def record(self, stage: str) -> Path:
        """What a finished stage was given and what it returned; see `stages`."""
        return self.root / "stages" / f"{stage}.json"

    @property
    def lock(self) -> Path:
        """Held by whoever works on the run; see `runs.exclusive`."""
        return self.root / ".lock"

    def attempts(self, stage: str) -> Path:
        """Holds one folder an attempt of the stage's child process: request, result, logs."""
        return self.root / "attempts" / stage

    def progress(self, stage: str) -> Path:
        """JSON lines that the stage's child process appends to while it works."""
        return self.attempts(stage) / "progress.jsonl"
