"""`mixnet predict` and `load_release(...).predict`, on a finished job's release and its images."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor
from numpy.typing import NDArray
from PIL import Image

import mixnet_core
from mixnet_core.checkpoints.store import read_parameters
from mixnet_core.cli.app import app
from mixnet_core.cli.prediction_output import MOST_IN_JSON, MOST_IN_TABLE, JsonRows, TableRows
from mixnet_core.data.index import read_index
from mixnet_core.errors import InputError, UnusableImage
from tests.tiny import MIXNET, FinishedJob, mixnet

pytestmark = pytest.mark.slow

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Case:
    """What the command left of a release's val images.

    Attributes:
        job: must not be changed.
        folder: where the command ran.
        images: of the val split, in its order.
        rows: of the CSV file.
        features: (N, 1536), of the .npy file.
        printed: what `--json` printed.
    """

    job: FinishedJob
    folder: Path
    images: tuple[str, ...]
    rows: list[dict[str, str]]
    features: NDArray[np.float32]
    printed: dict[str, Any]

    @property
    def workspace(self) -> str:
        return str(self.job.folder / "workspace")


@pytest.fixture(scope="module")
def case(finished_job: FinishedJob, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    before = mindspore.get_context("mode")
    folder = tmp_path_factory.mktemp("predicting")
    index = read_index(Path(finished_job.results["prepare"]["root"]), "val")
    images = tuple(str(index.root / path) for path in index.paths)
    done = mixnet(
        *("predict", "tiny", str(index.root / "val"), "--csv=rows.csv", "--features=f.npy"),
        *("--json", f"--workspace={finished_job.folder / 'workspace'}"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(images)} pictures predicted" in done.stderr
    rows = list(csv.DictReader((folder / "rows.csv").read_text().splitlines()))
    yield Case(
        finished_job, folder, images, rows, np.load(folder / "f.npy"), json.loads(done.stdout)
    )
    mindspore.set_context(mode=before)


@pytest.fixture(scope="module")
def model(case: Case) -> mixnet_core.LoadedRelease:
    return mixnet_core.load_release("tiny", workspace=case.workspace)


def test_predictions_are_the_releases_own_of_every_val_image(case: Case) -> None:
    """What evaluation counted is the source: it stands in the run's answers.csv."""
    counted = list(csv.DictReader((case.job.run_dir / "answers.csv").read_text().splitlines()))
    assert [row["image"] for row in case.rows] == list(case.images)
    assert len(counted) == len(case.rows) == case.job.results["prepare"]["counts"]["val"]
    for ours, theirs in zip(case.rows, counted, strict=True):
        assert ours["image"].endswith(theirs["image"])
        assert ours["class_1"] == theirs["answer"]
        assert float(ours["probability_1"]) == pytest.approx(float(theirs["confidence"]), rel=1e-6)
        told = [float(ours[f"probability_{place}"]) for place in range(1, 6)]
        assert told == sorted(told, reverse=True)
        assert ours["error"] == ""
        if int(theirs["place"]) < 5:
            assert ours[f"class_{int(theirs['place']) + 1}"] == theirs["label"]
    found = case.printed["predictions"]
    assert (found["images"], found["unreadable"], found["source"]) == (90, 0, "release tiny")
    assert "rows" not in found, "they are in the CSV file"
    assert not list((Path(case.workspace) / "predictions").iterdir()), "files of the job are left"


def test_features_times_the_classifier_are_the_logits(
    case: Case, model: mixnet_core.LoadedRelease
) -> None:
    parameters = read_parameters(model.released.weights)
    weight, bias = (parameters[f"classifier.{name}"].asnumpy() for name in ("weight", "bias"))
    logits = model.logits(case.images)
    assert case.features.dtype == np.float32
    assert case.features.shape == (len(case.images), weight.shape[1])
    np.testing.assert_allclose(case.features @ weight.T + bias, logits, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(model.features(case.images), case.features)
    # MindSpore's own network is another source of both.
    images = np.stack([_normalised(model, image) for image in case.images[:3]])
    theirs = model.network(Tensor(images)).asnumpy()
    np.testing.assert_allclose(logits[:3], theirs, rtol=0, atol=1e-3 * theirs.std())


def _normalised(model: mixnet_core.LoadedRelease, image: str) -> NDArray[np.float32]:
    """The formula in NumPy, for images of the network's own size."""
    given = model.recipe.input
    pixels = np.asarray(Image.open(image).convert("RGB"), np.float32)
    assert pixels.shape[0] == given.image_size
    return ((pixels - np.float32(given.mean)) / np.float32(given.std)).transpose(2, 0, 1)


def test_python_predicts_what_the_command_does_however_images_are_given(
    case: Case, model: mixnet_core.LoadedRelease
) -> None:
    predictions = model.predict(case.images, top=3)
    assert [item.image for item in predictions] == list(case.images)
    for item, row in zip(predictions, case.rows, strict=True):
        assert item.classes == tuple(row[f"class_{place}"] for place in (1, 2, 3))
        assert list(item.probabilities) == [float(row[f"probability_{i}"]) for i in (1, 2, 3)]
    path = case.images[5]
    pixels = np.asarray(Image.open(path).convert("RGB"))
    for given in (path, Path(path), Image.open(path), pixels, pixels[None], [pixels]):
        (item,) = model.predict(given)
        assert item.classes == tuple(case.rows[5][f"class_{place}"] for place in range(1, 6))
        first = float(case.rows[5]["probability_1"])
        assert item.probabilities[0] == pytest.approx(first, rel=1e-5)
    (item,) = model.predict(path, top=100)
    assert sorted(item.classes) == list(DIGITS)
    assert sum(item.probabilities) == pytest.approx(1)
    assert model.predict([]) == []


def test_a_file_that_cannot_be_read_is_told_and_does_not_end_it(
    case: Case, model: mixnet_core.LoadedRelease
) -> None:
    first, bad, last = model.predict([case.images[0], "none.png", case.images[1]])
    assert (bad.image, bad.classes, bad.error) == ("none.png", (), "there is no such file")
    assert (first.classes[0], last.classes[0]) == tuple(r["class_1"] for r in case.rows[:2])
    for call in (model.logits, model.features):
        with pytest.raises(UnusableImage, match=r"none\.png cannot be used"):
            call([case.images[0], "none.png"])
    with pytest.raises(InputError, match="expected uint8"):
        model.predict(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(InputError, match="top is 0"):
        model.predict(case.images[0], top=0)


def test_an_onnx_file_predicts_and_gives_features_too(
    case: Case, model: mixnet_core.LoadedRelease
) -> None:
    target = case.folder / "w.onnx"
    zeros = Tensor(np.zeros((1, 3, 8, 8), np.float32))
    mindspore.onnx.export(model.network, zeros, file_name=str(target))
    onnx = mixnet_core.load_release(
        str(target),
        workspace=str(case.folder / "w"),
        recipe="digits",
        settings={"input.image_size": 8},
    )
    assert onnx.classes is None
    for item, row in zip(onnx.predict(case.images), case.rows, strict=True):
        assert item.classes[0] == row["class_1"]
        assert item.probabilities[0] == pytest.approx(float(row["probability_1"]), rel=1e-4)
    features = onnx.features(case.images)
    np.testing.assert_allclose(features, case.features, rtol=0, atol=1e-4 * features.std())
    with pytest.raises(InputError, match="holds no network of MindSpore"):
        _ = onnx.network


def test_an_unreadable_picture_is_a_line_and_counted(case: Case) -> None:
    folder = case.folder / "mixed"
    folder.mkdir()
    shutil.copy(case.images[0], folder / "a.png")
    (folder / "b.png").write_text("no picture")
    shutil.copy(case.images[1], folder / "c.png")
    (folder / "notes.txt").write_text("no picture")
    done = mixnet(
        *("predict", str(case.job.run_dir), "mixed", "gone.png", "--json", "--top=2"),
        cwd=case.folder,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["predictions"]
    assert found["source"].startswith("run tiny, ")
    assert [row["image"] for row in found["rows"]] == [
        *("mixed/a.png", "mixed/b.png", "mixed/c.png", "gone.png")
    ]
    good = [row for row in found["rows"] if "classes" in row]
    assert [row["classes"][0] for row in good] == [row["class_1"] for row in case.rows[:2]]
    assert [len(row["probabilities"]) for row in good] == [2, 2]
    assert [row.get("error") for row in found["rows"]] == [
        *(None, "not an image", None, "there is no such file")
    ]
    assert (found["images"], found["unreadable"]) == (4, 2)
    assert found["left_out"] == {"no pictures (.txt)": 1}
    assert "2 cannot be read, the first is mixed/b.png (not an image)" in done.stderr
    assert "1 left out: 1 no pictures (.txt)" in done.stderr


def test_a_list_is_predicted_from_standard_input_into_a_table(case: Case) -> None:
    done = subprocess.run(
        [str(MIXNET), "predict", "tiny", "-", f"--workspace={case.workspace}"],
        input="\n".join(case.images[:3]),
        cwd=case.folder,
        env={**os.environ, "COLUMNS": "250"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for image, row in zip(case.images[:3], case.rows, strict=False):
        (line,) = (line for line in done.stdout.splitlines() if image in line)
        assert f" {row['class_1']} " in line
        assert f"{100 * float(row['probability_1']):.1f} %" in line
    assert "short side 8 px" in done.stdout


def test_where_not_one_picture_can_be_read_nothing_is_written_and_it_fails(case: Case) -> None:
    (case.folder / "bad.png").write_text("no picture")
    done = mixnet(
        *("predict", "tiny", "bad.png", "gone.png", "--csv=none.csv", "--features=none.npy"),
        f"--workspace={case.workspace}",
        cwd=case.folder,
    )
    assert done.returncode == 2
    said = "none of 2 pictures can be read, the first is bad.png (not an image)"
    assert said in done.stderr
    assert not list(case.folder.glob("none.*"))


def predict(case: Case, *arguments: str) -> None:
    app(["predict", *arguments, f"--workspace={case.workspace}"], standalone_mode=False)


def test_what_cannot_be_done_is_refused_before_the_work(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no picture")
    picture = tmp_path / "pictures" / "a.png"
    picture.parent.mkdir()
    (tmp_path / "link").symlink_to("pictures")
    Image.new("RGB", (8, 8)).save(picture)
    before = picture.read_bytes()
    for arguments, said in (
        (("tiny", "empty"), "no pictures in what was named: give files"),
        (("tiny", "texts"), r"named \(1 files found, 0 taken, 1 left out: 1 no pictures \(.txt"),
        (("tiny", "-", "-"), "- is named twice"),
        (("tiny", "empty", "--json", "--csv=-"), "both print"),
        (("tiny", "empty", "--csv=x", "--features=./x"), "is named for two things"),
        (("nobody", "empty"), "no release 'nobody'"),
        (("tiny", "empty", "--csv=s3://bucket/x.csv"), "s3:/bucket/x.csv is an address"),
        (("tiny", "pictures", "--csv=pictures/a.png"), "would be written over"),
        (("tiny", "pictures/a.png", "--features=link/a.png"), "would be written over"),
        (("./w.ckpt", "pictures", "--csv=w.ckpt"), "is named for two things"),
    ):
        with pytest.raises(InputError, match=said):
            predict(case, *arguments)
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "link", "pictures", "texts"}
    assert picture.read_bytes() == before
    for rows, most in ((TableRows(), MOST_IN_TABLE), (JsonRows(), MOST_IN_JSON)):
        rows.expect(most)
        with pytest.raises(InputError, match="write them with --csv FILE"):
            rows.expect(most + 1)
