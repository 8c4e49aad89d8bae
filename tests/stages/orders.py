"""One stage run again with something else, then any other: what that takes, and what it refuses.

`python -m tests.stages.orders` prints the table that the test holds.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixnet_core.errors import InputError
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.runs.records import begin, finished, key_of, open_run, write_record
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.values import (
    Candidate,
    Checkpoint,
    Decision,
    FetchedWeights,
    PreparedDataset,
    Score,
    Selection,
    TrainedRun,
    Validation,
)
from mixnet_core.stages import table
from mixnet_core.stages.accept import standing_decision
from mixnet_core.stages.acceptance import decide, decided_on
from mixnet_core.stages.context import Context
from mixnet_core.stages.made_from import (
    accept_inputs,
    fetch_inputs,
    prepare_inputs,
    select_inputs,
    train_inputs,
    validate_inputs,
)
from mixnet_core.stages.on_record import OnRecord

STAGES = tuple(stage.name for stage in table.STAGES)
RELEASES = "file:///releases"
SCORE = Score(count=100, correct1=97, correct5=100, loss=0.1)


def digest(text: str) -> str:
    return (text * 64)[:64]


@dataclass
class Finished:
    """A run whose stages are all on record. Each method does one again, with another outcome."""

    run: RunDir
    recipe: Recipe

    @property
    def context(self) -> Context:
        return Context(self.recipe, self.run, Workspace(self.run.root.parents[1]), RELEASES)

    @property
    def records(self) -> OnRecord:
        return OnRecord(self.recipe, self.run)

    def prepare(self, images: str = "a") -> None:
        dataset = PreparedDataset(
            root=str(self.run.root / "data"),
            fingerprint=digest(images),
            classes=("0", "1"),
            counts={"train": 10, "select": 5, "val": 100},
        )
        write_record(self.run, "prepare", prepare_inputs(self.recipe), dataset)

    def fetch(self, content: str = "b") -> None:
        weights = FetchedWeights(name="base", path="/w.ckpt", sha256=digest(content))
        write_record(self.run, "fetch", fetch_inputs(self.recipe), weights)

    def train(self, weights: str = "c") -> None:
        inputs = train_inputs(self.recipe, self.records.dataset(), self.records.weights())
        begin(self.run, "train", key_of(**inputs), "another dataset or other weights")
        checkpoints = tuple(
            Checkpoint(path=f"/step-{step}", step=step, epoch=step, weights_sha256=digest(weights))
            for step in (1, 2)
        )
        trained = TrainedRun(
            run_dir=str(self.run.root),
            checkpoints=checkpoints,
            steps=2,
            epochs=2,
            loss=0.1,
            ranks=1,
            seconds=1.0,
            images_per_second=1.0,
        )
        write_record(self.run, "train", inputs, trained)

    def select(self, chosen: int = 0) -> None:
        trained = self.records.trained()
        selection = Selection(
            chosen=trained.checkpoints[chosen],
            candidates=tuple(Candidate(checkpoint=c, score=SCORE) for c in trained.checkpoints),
            rule="",
        )
        inputs = select_inputs(self.recipe, self.records.dataset(), trained)
        write_record(self.run, "select", inputs, selection)

    def validate(self, predictions: str = "d") -> None:
        chosen = self.records.selection().chosen
        validation = Validation(
            checkpoint=chosen,
            score=SCORE,
            dataset_fingerprint=self.records.dataset().fingerprint,
            answers=str(self.run.predictions),
            answers_sha256=digest(predictions),
            report_json=str(self.run.report_json),
            report_markdown=str(self.run.report_markdown),
            report_page=str(self.run.report_page),
            engine="",
        )
        inputs = validate_inputs(self.recipe, self.records.dataset(), chosen)
        write_record(self.run, "validate", inputs, validation)

    def accept(self, override: str | None = None) -> None:
        validation, wanted = self.records.validation(), self.recipe.acceptance
        decision = decided_on(
            decide(wanted, validation.score, override=override), wanted, validation
        )
        inputs = accept_inputs(
            self.recipe, self.records.dataset(), validation, registry=RELEASES, override=override
        )
        write_record(self.run, "accept", inputs, decision)

    def settings(self, **changes: Any) -> None:
        """As `--set` of what computes nothing."""
        recipe = load_recipe(
            str(self.run.recipe), {key.replace("__", "."): value for key, value in changes.items()}
        )
        self.run, self.recipe = open_run(recipe, Workspace(self.run.root.parents[1]), "r")


def finished_run(folder: Path) -> Finished:
    """Makes a run whose seven stages fit each other."""
    recipe = load_recipe("digits", {"weights.name": "base", "acceptance.min_top1": 0.9})
    done = Finished(*open_run(recipe, Workspace(folder), "r"))
    for stage in STAGES[:-1]:
        getattr(done, stage)()
    return done


AGAIN: Mapping[str, Callable[[Finished], None]] = {
    "nothing": lambda done: None,
    "prepare, other images": lambda done: done.prepare("e"),
    "fetch, other weights": lambda done: done.fetch("e"),
    "train, other checkpoints": lambda done: done.train("e"),
    "select, another one": lambda done: done.select(1),
    "validate, other predictions": lambda done: done.validate("e"),
    "accept, overridden": lambda done: done.accept("because"),
    "--set selection.policy": lambda done: done.settings(selection__policy="last"),
    "--set acceptance.min_top1": lambda done: done.settings(acceptance__min_top1=0.99),
}


def then(done: Finished, stage: str) -> str:
    """Says what the stage does with what is on record: "done", "anew", or whom it refuses."""
    records = done.records
    try:
        if stage == "train":
            inputs = train_inputs(done.recipe, records.dataset(), records.weights())
            begin(done.run, "train", key_of(**inputs), "another dataset or other weights")
        elif stage == "select":
            records.trained()
        elif stage == "validate":
            records.selection()
        elif stage == "accept":
            inputs = accept_inputs(
                done.recipe,
                records.dataset(),
                records.validation(),
                registry=RELEASES,
                override=None,
            )
            return "done" if finished(done.run, "accept", inputs, Decision) else "decides anew"
        elif stage == "publish":
            stands = standing_decision(done.context, records.validation(), None)
            return "done" if stands else "decides anew"
    except InputError as error:
        named = re.search(r"stage (\w+) of run", str(error))
        return f"refuses {named[1]}" if named else "refuses"
    return "done"


def rows_of_all() -> list[list[str]]:
    """A row for each thing done again: it, then what each stage after it does."""
    rows = []
    for again, act in AGAIN.items():
        with tempfile.TemporaryDirectory() as folder:
            done = finished_run(Path(folder))
            act(done)
            rows.append([again, *(then(done, stage) for stage in STAGES)])
    return rows


def main() -> None:
    rows = [["again", *STAGES], ["---"] * (len(STAGES) + 1), *rows_of_all()]
    sys.stdout.writelines(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    main()
