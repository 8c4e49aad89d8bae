"""A real MixNet on real files, beside a count with Pillow and one plain forward pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, nn
from numpy.typing import NDArray
from PIL import Image

from mixnet_core.data.batches import Batch
from mixnet_core.data.index import Index, read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import CheckpointMismatch, DatasetError, IntegrityError
from mixnet_core.evaluate import mindspore_engine, scoring
from mixnet_core.evaluate.counting import score
from mixnet_core.evaluate.engine import BatchLogits
from mixnet_core.evaluate.prediction_files import read_predictions
from mixnet_core.evaluate.scoring import evaluate, share
from mixnet_core.model.mixnet import build_model
from mixnet_core.model.ranks import Ranks
from mixnet_core.processes.requests import EvaluateRequest, EvaluateResult
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.values import Score
from tests.data.samples import SIDE, write_image_folder
from tests.model.reference import weight
from tests.slow_job import NEARLY, STALL_SECONDS, Killed, SlowJob

CLASSES = [f"c{label}" for label in range(7)]
# 13 in all: with batches of 4 the last holds a single image.
VAL = dict(zip(CLASSES, (2, 2, 2, 1, 2, 2, 2), strict=True))
BATCH, IMAGES = 4, 13


def scores(request: EvaluateRequest) -> list[Score]:
    """Of what `evaluate` left."""
    return [score(read_predictions(request, i, IMAGES)) for i in range(len(request.weights))]


@dataclass(frozen=True)
class Case:
    request: EvaluateRequest
    files: dict[str, str]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    before = mindspore.get_context("mode")
    root = tmp_path_factory.mktemp("scoring")
    source = write_image_folder(root / "source", dict.fromkeys(CLASSES, 2), VAL)
    recipe = load_recipe(
        "digits",
        {
            "data.source": "image_folder",
            "data.path": str(source),
            # The images' own size: neither resized nor cropped, so Pillow sees the same pixels.
            "input.image_size": SIDE,
            "input.crop_pct": 1.0,
            "input.mean": [78.0] * 3,
            "input.std": [96.0] * 3,
            "network.num_classes": len(CLASSES),
            "network.in_channels": 3,
            "network.stem_stride": 1,
            "devices.engine": "mindspore",
        },
    )
    dataset = prepare_dataset(recipe.data, root / "datasets")
    files = {
        "a": write_weights(root / "a.ckpt", "a"),
        "b": write_weights(root / "b.ckpt", "b"),
        "nan": write_weights(root / "nan.ckpt", "a", bias=np.nan),
        "other": write_weights(root / "other.ckpt", "a", classes=9),
    }
    request = EvaluateRequest(
        recipe=recipe,
        dataset=dataset.root,
        split="val",
        weights=(files["a"], files["b"], files["a"]),
        classes=len(CLASSES),
        batch=BATCH,
        threads=1,
        answers=str(root / "answers"),
        progress=str(root / "progress" / "rows.jsonl"),
    )
    yield Case(request, files)
    mindspore.set_context(mode=before)


@pytest.fixture(scope="module")
def nets() -> list[nn.Cell]:
    return []


@pytest.fixture(scope="module")
def result(case: Case, nets: list[nn.Cell]) -> EvaluateResult:
    progress = Path(case.request.progress)
    progress.parent.mkdir()
    progress.write_text('{"event": "of an earlier attempt"}\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mindspore_engine, "build_model", remember(nets))
        return evaluate(case.request)


@pytest.fixture
def compiled(
    result: EvaluateResult, nets: list[nn.Cell], monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Lets `evaluate` take the network that is compiled already: a compile takes seconds."""
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    monkeypatch.setattr(mindspore_engine, "build_model", lambda *_, **__: nets[0])
    yield
    assert len(nets[0].compile_cache) == 1


def remember(nets: list[nn.Cell]) -> Any:
    def build(*arguments: Any, **options: Any) -> nn.Cell:
        nets.append(build_model(*arguments, **options))
        return nets[-1]

    return build


def write_weights(path: Path, salt: str, *, bias: float = 0.0, classes: int = 7) -> str:
    """Weights whose logits differ from image to image, unlike a fresh network's."""
    kinds = {"moving_mean": "mean", "moving_variance": "var", "gamma": "bn_scale"}
    rows = []
    for p in network(classes).get_parameters():
        kind = kinds.get(p.name.split(".")[-1]) or {1: "bias", 2: "dense", 4: "conv"}[p.ndim]
        values = weight(salt + p.name, list(p.shape), kind)
        rows.append({"name": p.name, "data": Tensor(values)})
    rows[-1]["data"] = Tensor(rows[-1]["data"].asnumpy() + np.float32(bias))
    mindspore.save_checkpoint(rows, str(path))
    return str(path)


def network(classes: int = 7) -> nn.Cell:
    return build_model("s", classes, stem_stride=1).set_train(False)


def by_hand(case: Case, weights: str) -> Score:
    """Pillow's pixels, kernels one by one, and a count in plain Python."""
    index = read_index(Path(case.request.dataset), "val")
    pixels = np.stack([np.asarray(Image.open(index.root / path)) for path in index.paths])
    images = ((pixels.astype(np.float32) - 78) / 96).transpose(0, 3, 1, 2)
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    net = network()
    mindspore.load_param_into_net(net, mindspore.load_checkpoint(weights), strict_load=True)
    logits = net(Tensor(np.ascontiguousarray(images))).asnumpy().astype(np.float64)
    firsts = [np.argsort(-row).tolist() for row in logits]
    labels = index.labels.tolist()
    losses = [
        np.log(np.exp(row - row[label]).sum()) for row, label in zip(logits, labels, strict=True)
    ]
    return Score(
        count=len(labels),
        correct1=sum(first[0] == label for first, label in zip(firsts, labels, strict=True)),
        correct5=sum(label in first[:5] for first, label in zip(firsts, labels, strict=True)),
        loss=float(np.mean(losses)),
    )


def test_scores_equal_a_count_by_hand_with_a_shorter_last_batch(
    case: Case, result: EvaluateResult
) -> None:
    for found, name in zip(scores(case.request), "aba", strict=True):
        expected = by_hand(case, case.files[name])
        assert found.model_copy(update={"loss": 0.0}) == expected.model_copy(update={"loss": 0.0})
        assert found.loss == pytest.approx(expected.loss, rel=1e-3)
        assert found.count == IMAGES
    assert result.images_per_second > 0
    mindspore = f"mindspore {metadata.version('mindspore')}, CPU, float32"
    assert result.engine == f"{mindspore}, native operators"


def test_openvino_counts_the_same(
    case: Case, result: EvaluateResult, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MIXNET_CACHE", str(tmp_path / "cache"))
    recipe = case.request.recipe
    devices = recipe.devices.model_copy(update={"engine": "openvino"})
    changes = {
        "recipe": recipe.model_copy(update={"devices": devices}),
        "answers": str(tmp_path / "answers"),
        "progress": str(tmp_path / "rows.jsonl"),
    }
    request = case.request.model_copy(update=changes)
    other = evaluate(request)
    assert other.engine == f"openvino {metadata.version('openvino')}, CPU, float32"
    for ours, theirs in zip(scores(request), scores(case.request), strict=True):
        assert ours.model_copy(update={"loss": 0.0}) == theirs.model_copy(update={"loss": 0.0})
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)
    rows = (tmp_path / "rows.jsonl").read_text()
    assert rows == Path(case.request.progress).read_text()


@pytest.mark.usefixtures("result")
def test_each_checkpoint_is_scored_with_its_own_weights(case: Case) -> None:
    first, second, third = scores(case.request)
    assert first == third
    assert first.loss != second.loss


def test_one_graph_serves_every_checkpoint_and_the_shorter_batch(
    result: EvaluateResult, nets: list[nn.Cell]
) -> None:
    assert [len(net.compile_cache) for net in nets] == [1]


def test_progress_tells_each_batch_and_nothing_of_earlier_attempts(
    case: Case, result: EvaluateResult
) -> None:
    rows = [json.loads(line) for line in Path(case.request.progress).read_text().splitlines()]
    assert rows == [
        {
            "event": "evaluate",
            "checkpoint": checkpoint,
            "checkpoints": 3,
            "done": done,
            "images": IMAGES,
        }
        for checkpoint in range(3)
        for done in (4, 8, 12, 13)
    ]


@pytest.mark.usefixtures("compiled")
def test_an_image_that_comes_twice_and_one_that_never_comes_void_the_score(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = mindspore_engine.evaluation_batches

    def twice_the_first(*arguments: Any, **options: Any) -> Iterator[Batch]:
        batches = list(real(*arguments, **options))
        yield from [batches[0], batches[0], *batches[2:]]

    monkeypatch.setattr(mindspore_engine, "evaluation_batches", twice_the_first)
    request = case.request.model_copy(update={"answers": str(tmp_path)})
    evaluate(request)
    with pytest.raises(IntegrityError, match="13 images were scored, 9 of them different"):
        read_predictions(request, 0, IMAGES)


def test_the_predictions_of_a_worker_that_are_missing_or_damaged_are_named(
    case: Case, result: EvaluateResult, tmp_path: Path
) -> None:
    two = case.request.model_copy(update={"workers": 2})
    with pytest.raises(IntegrityError, match="answers of worker 1 are not at"):
        read_predictions(two, 0, IMAGES)
    (tmp_path / "000-0.npy").write_bytes(b"not an array")
    damaged = case.request.model_copy(update={"answers": str(tmp_path)})
    with pytest.raises(IntegrityError, match="answers of worker 0 are not at"):
        read_predictions(damaged, 0, IMAGES)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_the_workers_share_every_image_once(count: int) -> None:
    shares = [share(IMAGES, Ranks(rank, count)) for rank in range(count)]
    assert np.concatenate(shares).tolist() == list(range(IMAGES))
    sizes = [len(positions) for positions in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.usefixtures("compiled")
def test_weights_that_are_no_numbers_are_named(case: Case) -> None:
    request = case.request.model_copy(update={"weights": (case.files["nan"],)})
    with pytest.raises(IntegrityError, match=r"nan\.ckpt holds .* the first is classifier\.bias"):
        evaluate(request)


@pytest.mark.usefixtures("compiled")
def test_weights_for_other_classes_are_refused(case: Case) -> None:
    request = case.request.model_copy(update={"weights": (case.files["other"],)})
    with pytest.raises(CheckpointMismatch, match=r"classifier\.weight has shape \(9, 1536\)"):
        evaluate(request)


def test_a_split_with_more_classes_than_the_network_is_refused(case: Case) -> None:
    with pytest.raises(DatasetError, match=r"val of .* has the label 6, the network has 6 classes"):
        evaluate(case.request.model_copy(update={"classes": 6}))


class SlowEngine:
    """Its graph, its files' opening and its batches take as long as a test says."""

    name = "slow"

    def __init__(self, job: SlowJob, *, loading: float, opening: float, batch: float) -> None:
        self._job, self._loading, self._opening, self._batch = job, loading, opening, batch

    def load(self, weights: Path, *, ema: bool = False) -> None:
        self._job.takes(self._loading)

    def logits(self, index: Index, positions: NDArray[np.int32]) -> Iterator[BatchLogits]:
        self._job.takes(self._opening)
        for position in positions:
            self._job.takes(self._batch)
            labels = index.labels[[position]]
            yield BatchLogits(
                np.eye(len(CLASSES), dtype=np.float32)[labels], labels, position[None]
            )


@pytest.mark.parametrize("slow", ["loading", "opening", "batch"])
def test_evaluating_that_is_slow_is_no_hang(
    case: Case, slow_job: SlowJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slow: str
) -> None:
    seconds = {"loading": 0.0, "opening": 0.0, "batch": 0.0}
    seconds |= {slow: NEARLY if slow == "batch" else 5 * STALL_SECONDS}
    engine = SlowEngine(slow_job, **seconds)
    monkeypatch.setattr(scoring, "open_engine", lambda *_, **__: engine)
    changes = {"answers": str(tmp_path / "answers"), "progress": str(tmp_path / "rows.jsonl")}
    request = case.request.model_copy(update=changes)
    evaluate(request)
    assert {found.top1 for found in scores(request)} == {1.0}
    assert slow_job.seconds > 10 * STALL_SECONDS


def test_evaluating_that_hangs_is_ended(
    case: Case, slow_job: SlowJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = SlowEngine(slow_job, loading=0, opening=0, batch=STALL_SECONDS + 1)
    monkeypatch.setattr(scoring, "open_engine", lambda *_, **__: engine)
    changes = {"answers": str(tmp_path / "answers"), "progress": str(tmp_path / "rows.jsonl")}
    with pytest.raises(Killed):
        evaluate(case.request.model_copy(update=changes))


def test_the_first_of_more_workers_than_images_has_one() -> None:
    """Whose time is the rate's."""
    shares = [share(2, Ranks(rank, 5)) for rank in range(5)]
    assert shares[0].tolist() == [0]
    assert np.concatenate(shares).tolist() == [0, 1]
