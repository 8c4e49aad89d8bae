"""Real workers, started by msrun; `python -m tests.counting` has every number of them and batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.errors import IntegrityError
from mixnet_core.evaluate import prediction_files
from mixnet_core.runs.values import Score
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
