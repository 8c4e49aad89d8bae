"""What scoring in mid-training may take; what it counts is in test_resume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixnet_core.checkpoints.bundle import AVERAGES, WEIGHTS
from mixnet_core.data.index import read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.evaluate.engine import BatchLogits
from mixnet_core.model.ranks import Ranks
from mixnet_core.processes import child
from mixnet_core.processes.requests import TrainRequest
from mixnet_core.train import scorer
from mixnet_core.train.scorer import Scorer
from tests.data.samples import small_recipe, write_image_folder
from tests.slow_job import NEARLY, STALL_SECONDS, Killed, SlowJob

LONG = 5 * STALL_SECONDS


class Engine:
    """Takes the time that a test says for each of its parts."""

    compiling = loading = opening = batch = 0.0
    job: SlowJob

    def __init__(self, *_: object, **__: object) -> None:
        self.job.takes(self.compiling)

    def load(self, weights: Path) -> None:
        self.job.takes(self.loading)

    def logits(self, index: Any, positions: Any) -> Iterator[BatchLogits]:
        self.job.takes(self.opening)
        for position in positions:
            self.job.takes(self.batch)
            labels = index.labels[[position]]
            yield BatchLogits(np.eye(2, dtype=np.float32)[labels], labels, positions[:1])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    for name in (WEIGHTS, AVERAGES):
        (tmp_path / "step-00000010").mkdir(exist_ok=True)
        (tmp_path / "step-00000010" / name).touch()
    return tmp_path / "step-00000010"


@pytest.fixture
def score(tmp_path: Path, slow_job: SlowJob, monkeypatch: pytest.MonkeyPatch) -> Scorer:
    images = write_image_folder(tmp_path / "images", {"a": 40, "b": 40}, {"a": 1, "b": 1})
    recipe = small_recipe(images, 2)
    dataset = prepare_dataset(recipe.data, tmp_path / "datasets")
    request = TrainRequest(
        recipe=recipe,
        run_dir=str(tmp_path),
        dataset=dataset,
        weights=None,
        threads=1,
        operators="plain",
    )
    assert len(read_index(Path(dataset.root), "select").paths) > 6
    monkeypatch.setattr(scorer, "MindsporeEngine", type("Its", (Engine,), {"job": slow_job}))
    # Training is under way.
    child.beat()
    child.beat()
    return Scorer(recipe, request, Ranks(0, 1))


@pytest.mark.parametrize("slow", ["compiling", "loading", "opening"])
def test_what_takes_long_before_the_first_image_is_scored_is_no_hang(
    score: Scorer, bundle: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    monkeypatch.setattr(scorer.MindsporeEngine, slow, LONG)
    found = score(bundle)
    assert {name: one.top1 for name, one in found.items()} == {WEIGHTS: 1.0, AVERAGES: 1.0}


def test_a_slow_network_is_no_hang_and_a_batch_that_never_ends_is(
    score: Scorer, bundle: Path, slow_job: SlowJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer.MindsporeEngine, "batch", NEARLY)
    score(bundle)
    assert slow_job.seconds > LONG
    monkeypatch.setattr(scorer.MindsporeEngine, "batch", STALL_SECONDS + 1)
    with pytest.raises(Killed):
        score(bundle)


def test_a_rank_that_is_through_may_wait_for_the_others_shares(
    score: Scorer, bundle: Path, slow_job: SlowJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = slow_job.attempt
    seen = []
    real = Engine.logits

    def logits(engine: Engine, index: Any, positions: Any) -> Iterator[BatchLogits]:
        for batch in real(engine, index, positions):
            seen.append((attempt / child.awaited_file("0")).exists())
            yield batch

    monkeypatch.setattr(scorer.MindsporeEngine, "logits", logits)
    score(bundle)
    assert set(seen) == {True}
    assert not (attempt / child.awaited_file("0")).exists()
