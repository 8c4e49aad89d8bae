"""Writing a format and proving it, with formats of the test's own: a linear network in a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixnet_core.data.index import read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import InputError, JobFailed
from mixnet_core.evaluate.counting import judge
from mixnet_core.evaluate.engine import BatchLogits
from mixnet_core.evaluate.prediction_table import PredictionTable, write_table
from mixnet_core.exports import formats, speed
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.job import export
from mixnet_core.exports.metadata import metadata_of
from mixnet_core.exports.request import ExportRequest, Images
from mixnet_core.exports.val_images import val_batches
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.values import PreparedDataset

RECIPE = load_recipe("digits", {"data.train_limit": 60, "input.image_size": 8})
CLASSES = tuple("0123456789")

FORMAT = """
import json
from typing import ClassVar
import numpy as np
from mixnet_core.exports.export_format import ExportFormat

def matrix(damage):
    # Whole numbers: sums of them are exact in float32, in whatever order.
    found = np.random.default_rng(0).integers(-8, 9, (8 * 8 * 3, 10)).astype(np.float32)
    if damage == "column":
        found[:, 3] = 100
    if damage == "rounding":
        found *= np.float32(1 + 1e-6)
    if damage == "nan":
        found[0, 0] = np.nan
    return found

class Runtime:
    def __init__(self, path):
        self.name = "linear 1"
        self.said = None
        if (path.parent / "said.json").is_file():
            self.said = json.loads((path.parent / "said.json").read_text())
        self.matrix = np.load(path)
    def logits(self, pixels):
        return pixels.reshape(len(pixels), -1).astype(np.float32) @ self.matrix

class Linear(ExportFormat):
    title = "linear"
    files: ClassVar = {{"{name}": "sub/{name}.npy"}}
    parent = {parent!r}
    def write(self, item, folder, calibration):
        (folder / "sub").mkdir(exist_ok=True)
        if self.parent:
            self.shape = calibration().shape
        np.save(folder / "sub/{name}.npy", matrix({damage!r}))
    def open(self, item, folder, *, threads):
        return Runtime(folder / "sub/{name}.npy")

FORMAT = Linear()
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return prepare_dataset(RECIPE.data, tmp_path_factory.mktemp("datasets"))


@pytest.fixture
def request_of(
    dataset: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Makes a request for a linear format with some damage; the reference has none."""
    added = []
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path / "formats")])
    (tmp_path / "formats").mkdir()
    monkeypatch.setattr(speed, "_SECONDS", 0.01)

    def add(name: str, damage: str | None, parent: str | None = None) -> None:
        source = FORMAT.format(name=name, damage=damage, parent=parent)
        (tmp_path / "formats" / f"{name}.py").write_text(source)
        added.append(f"{formats.__name__}.{name}")

    def make(name: str, damage: str | None, parent: str | None = None, **more: Any) -> Any:
        add(name, damage, parent)
        if parent:
            add(parent, more.pop("of_parent", None))
        folder = tmp_path / name
        folder.mkdir()
        matrix = np.random.default_rng(0).integers(-8, 9, (8 * 8 * 3, 10)).astype(np.float32)
        batches = list(
            val_batches(dataset.root, RECIPE, threads=1, progress=str(tmp_path / "p.jsonl"))
        )
        pixels = np.concatenate([batch.images for batch in batches])
        logits = pixels.reshape(len(pixels), -1).astype(np.float32) @ matrix
        np.save(tmp_path / "reference.npy", logits)
        index = read_index(Path(dataset.root), "val")
        positions = np.arange(len(index.labels), dtype=np.int32)
        rows = judge(BatchLogits(logits, index.labels, positions), "w")
        write_table(tmp_path / "answers.csv", PredictionTable(index.paths, rows), CLASSES)
        values = {
            "item": Exportable(
                name="mine",
                recipe=RECIPE,
                weights="/w.ckpt",
                sha256="0" * 64,
                classes=CLASSES,
                width=10,
            ),
            "format": name,
            "folder": str(folder),
            "images": Images(
                dataset=dataset.root, classes=CLASSES, answers=str(tmp_path / "answers.csv")
            ),
            "reference": str(tmp_path / "reference.npy"),
            "engine": "an engine",
            "threads": 1,
            "most_drop": 1.0,
            "calibration_images": 16,
            "progress": str(tmp_path / "p.jsonl"),
        }
        return ExportRequest(**(values | more))

    yield make
    for module in added:
        sys.modules.pop(module, None)


def test_a_file_that_computes_the_same_is_proven_on_every_image(
    request_of: Any, dataset: PreparedDataset
) -> None:
    proof = export(request_of("plain", None)).proof
    assert (proof.state, proof.reason) == ("proven", "")
    assert proof.images == dataset.counts["val"]
    assert (proof.differing, proof.largest_difference) == (0, 0.0)
    assert (proof.runtime, proof.reference) == ("linear 1", "an engine")
    assert proof.compared_with == "the release's predictions"
    (file,) = proof.files.values()
    assert (file.name, file.bytes) == ("sub/plain.npy", 8 * 8 * 3 * 10 * 4 + 128)
    assert proof.score is not None
    assert proof.score.count == proof.images


def test_rounding_is_proven_and_its_size_said(request_of: Any) -> None:
    proof = export(request_of("rounded", "rounding")).proof
    assert proof.state == "proven"
    assert 0 < proof.largest_difference < 1


def test_a_file_of_another_network_is_refused_with_the_images(request_of: Any) -> None:
    proof = export(request_of("other", "column")).proof
    assert proof.state == "refused"
    assert proof.differing > 100
    assert proof.beyond[0].exported == "3"
    assert proof.beyond[0].image in proof.reason


@pytest.mark.parametrize("key", ["classes", "short_side", "interpolation"])
def test_a_file_that_says_otherwise_how_it_is_used_is_refused(request_of: Any, key: str) -> None:
    request = request_of("telling", None)
    told = Path(request.folder, "sub", "said.json")
    told.parent.mkdir()
    told.write_text(json.dumps(metadata_of(request.item)))
    assert export(request).proof.state == "proven"
    told.write_text(json.dumps(metadata_of(request.item) | {key: "[]"}))
    proof = export(request).proof
    assert (proof.state, key in proof.reason) == ("refused", True)


def test_a_file_whose_logits_are_no_numbers_is_refused(request_of: Any) -> None:
    with pytest.raises(JobFailed, match=r"the export gives image .* the logit nan"):
        export(request_of("odd", "nan"))


def test_labels_in_another_order_are_found(request_of: Any, dataset: PreparedDataset) -> None:
    plain = export(request_of("plain", None)).proof
    request = request_of("turned", None)
    labels = tuple(reversed(range(10)))
    images = request.images.model_copy(update={"labels": labels})
    turned = export(request.model_copy(update={"images": images})).proof
    assert turned.state == "proven"
    assert turned.score.correct1 != plain.score.correct1


def test_without_images_a_file_is_tried_out_and_called_unproven(request_of: Any) -> None:
    proof = export(request_of("alone", None, images=None, reference="")).proof
    assert (proof.state, proof.images, proof.largest_difference) == ("unproven", 0, None)
    assert "images are not here" in proof.reason


def test_eight_bits_are_judged_beside_their_parent_and_keep_their_calibration(
    request_of: Any,
) -> None:
    proof = export(request_of("small", "rounding", parent="whole")).proof
    assert proof.state == "proven"
    found = proof.quantised
    assert (found.parent, found.calibrated_on, found.lost, found.gained) == ("whole", 16, 0, 0)
    assert found.speed_ratios[0] <= found.speed_ratio <= found.speed_ratios[1]
    assert list(proof.files) == ["small"]


def test_eight_bits_that_lose_more_than_allowed_are_refused_with_the_figures(
    request_of: Any,
) -> None:
    # The linear network guesses; a class that is always predicted is right a tenth of the time.
    allowed = export(request_of("lossy", "column", parent="whole", most_drop=100.0)).proof
    assert allowed.state == "proven"
    drop = 100 * (allowed.quantised.lost - allowed.quantised.gained) / allowed.images
    if drop > 0:
        refused = export(request_of("lossier", "column", parent="base", most_drop=drop / 2)).proof
        assert refused.state == "refused"
        assert f"top-1 -{drop:.2f} points against base" in refused.reason
        assert "McNemar" in refused.reason
    else:
        pytest.fail("the reference guesses worse than a constant: choose another matrix")


def test_eight_bits_of_a_parent_that_is_not_the_release_are_refused(request_of: Any) -> None:
    request = request_of("alike", "column", parent="wrong", of_parent="column", most_drop=100.0)
    proof = export(request).proof
    assert proof.state == "refused"
    assert proof.reason.startswith("wrong, which it is judged against, is refused: ")


def test_eight_bits_without_training_images_are_refused_in_a_line(request_of: Any) -> None:
    with pytest.raises(InputError, match="calibrated on training images, which are not here"):
        export(request_of("bits", "rounding", parent="whole", images=None, reference=""))
