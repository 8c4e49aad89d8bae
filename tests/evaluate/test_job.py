"""Real workers, started by msrun; `python -m tests.counting` has every number of them and batch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.errors import IntegrityError
from mixnet_core.evaluate import job, prediction_files
from mixnet_core.evaluate.counting import JUDGED
from mixnet_core.evaluate.prediction_files import write_predictions
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.processes.requests import EvaluateRequest
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.values import PreparedDataset, Score
from mixnet_core.storage.asides import hold_aside
from tests.counting import IMAGES, Case, make_case

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(tmp_path_factory.mktemp("measuring"))


@pytest.fixture(scope="module")
def alone(case: Case) -> tuple[Score, str]:
    return case.counted("openvino", workers=1, batch=64)


@pytest.mark.parametrize(
    ("engine", "workers", "batch"),
    [("openvino", 1, 7), ("openvino", 3, 128), ("mindspore", 2, 64)],
)
def test_every_image_is_predicted_alike_by_any_workers_in_any_batches(
    case: Case, alone: tuple[Score, str], engine: str, workers: int, batch: int
) -> None:
    score, digest = case.counted(engine, workers=workers, batch=batch)
    assert score.count == IMAGES
    assert digest == alone[1]
    assert (score.correct1, score.correct5) == (alone[0].correct1, alone[0].correct5)
    assert score.loss == pytest.approx(alone[0].loss, rel=1e-5)


def test_a_worker_whose_predictions_are_lost_voids_the_score(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = prediction_files._file

    def none_of_the_last(*arguments: object) -> Path:
        path = real(*arguments)  # type: ignore[arg-type]
        return path.with_name("lost.npy") if path.name.endswith("-1.npy") else path

    monkeypatch.setattr(prediction_files, "_file", none_of_the_last)
    with pytest.raises(IntegrityError, match="the answers of worker 1"):
        case.counted("openvino", workers=2, batch=64)


def job_in_this_process(
    module: str, request: EvaluateRequest, *, keep_open: tuple[int, ...], **_: object
) -> dict[str, object]:
    """Predicts one file after the other, and never in a hurry."""
    assert os.fstat(keep_open[-1])
    for number, weights in enumerate(request.weights):
        time.sleep(0.1)
        rows = np.zeros(4, JUDGED)
        rows["position"], rows["answer"] = range(4), int(weights)
        write_predictions(request, number, 0, rows)
    return {"images_per_second": 1.0, "engine": "e"}


@pytest.fixture
def measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Sequence[str]], list[set[int]]]:
    monkeypatch.setattr(job, "run_job", job_in_this_process)
    dataset = PreparedDataset(
        root=str(tmp_path),
        fingerprint="f",
        classes=("a", "b"),
        counts={"val": 4},
        val_fingerprint="v",
    )

    def measured(files: Sequence[str]) -> list[set[int]]:
        found = job.measure(
            load_recipe("digits"),
            dataset,
            [Path(file) for file in files],
            split="val",
            stage="validate",
            attempts=tmp_path / "attempts",
        )
        return [set(rows["answer"].tolist()) for rows in found.predictions]

    return measured


def test_answers_are_read_once_other_hosts_are_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own_half(module: str, request: EvaluateRequest, **_: object) -> dict[str, object]:
        asked.append(request)
        half(request, 0)
        return {"images_per_second": 1.0, "engine": "e"}

    def half(request: EvaluateRequest, rank: int) -> None:
        rows = np.zeros(2, JUDGED)
        rows["position"] = (2 * rank, 2 * rank + 1)
        write_predictions(request, 0, rank, rows)

    asked: list[EvaluateRequest] = []
    monkeypatch.setattr(job, "run_job", own_half)
    dataset = PreparedDataset(
        root=str(tmp_path),
        fingerprint="f",
        classes=("a", "b"),
        counts={"val": 4},
        val_fingerprint="v",
    )
    together = job.Together(
        HostRanks(1, 2, 0, "192.0.2.1"),
        on_start=lambda attempt, ranks: None,
        on_look=lambda attempt: None,
        on_end=lambda: half(asked[0], 1),
    )
    found = job.measure(
        load_recipe("digits"),
        dataset,
        [Path("1")],
        split="val",
        stage="validate",
        attempts=tmp_path / "attempts",
        together=together,
    )
    assert found.predictions[0]["position"].tolist() == [0, 1, 2, 3]


def test_measurements_at_the_same_time_share_nothing_and_leave_nothing(
    measured: Callable[[Sequence[str]], list[set[int]]], tmp_path: Path
) -> None:
    with ThreadPoolExecutor() as pool:
        started = [pool.submit(measured, [f"{n}1", f"{n}2", f"{n}3"]) for n in range(1, 5)]
        for number, future in enumerate(started, 1):
            assert future.result() == [{10 * number + 1}, {10 * number + 2}, {10 * number + 3}]
    assert list((tmp_path / "attempts").iterdir()) == []


def test_what_a_killed_measurement_left_goes_with_the_next(
    measured: Callable[[Sequence[str]], list[set[int]]], tmp_path: Path
) -> None:
    (tmp_path / "attempts").mkdir()
    left = hold_aside(tmp_path / "attempts")
    (left.path / "answers").mkdir()
    assert measured(["1"]) == [{1}]
    assert left.path.is_dir()
    os.close(left.handle)
    assert measured(["1"]) == [{1}]
    assert not left.path.exists()
