"""`mixnet evaluate` on a published file in each of its forms."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor

from mixnet_core.checkpoints.store import load_weights, read_parameters
from mixnet_core.errors import (
    CheckpointMismatch,
    DigestMismatch,
    InputError,
    IntegrityError,
    MachineError,
)
from mixnet_core.evaluate.look import look
from mixnet_core.model.mixnet import build_model
from mixnet_core.processes.requests import LookRequest, LookResult
from mixnet_core.release.origin import Origin, origin_of
from mixnet_core.release.registry import read_release
from mixnet_core.revalidation import weights_file
from mixnet_core.revalidation.weights_file import evaluate_file
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.storage.files import sha256_of
from tests.mindcv_cells import Step, double_averages, momentum, save
from tests.tiny import FinishedJob, mixnet

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Case:
    """A release's weights in three forms, and the folder of its val images.

    Attributes:
        val: what its manifest says.
    """

    folder: Path
    images: Path
    files: dict[str, Path]
    val: dict[str, Any]


@pytest.fixture(scope="module")
def case(finished_job: FinishedJob, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    before = mindspore.get_context("mode")
    folder = tmp_path_factory.mktemp("evaluating")
    release = read_release(finished_job.results["publish"]["uri"])
    published = Path(release.uri.removeprefix("file://")) / release.files["weights"].name
    net = build_model("s", 10, stem_stride=1).set_train(False)
    load_weights(net, published)
    rows = [{"name": p.name, "data": p} for p in net.get_parameters()]
    mindspore.save_checkpoint(rows, str(folder / "w"), format="safetensors")
    mindspore.onnx.export(
        net, Tensor(np.zeros((1, 3, 8, 8), np.float32)), file_name=str(folder / "w")
    )
    yield Case(
        folder,
        Path(finished_job.results["prepare"]["root"]) / "val",
        {
            "ckpt": published,
            "safetensors": folder / "w.safetensors",
            "onnx": folder / "w.onnx",
        },
        release.facts["val"],
    )
    mindspore.set_context(mode=before)


def evaluated(case: Case, kind: str, *more: str) -> str:
    """What the command prints."""
    done = mixnet(
        "evaluate",
        str(case.files[kind]),
        f"--data={case.images}",
        "--recipe=digits",
        "--set=input.image_size=8",
        *more,
        cwd=case.folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_released_file_reaches_what_its_manifest_says(case: Case) -> None:
    printed = evaluated(case, "ckpt", "--report=page.html", "--answers=answers.csv")
    assert f"{100 * case.val['top1']:.2f} %" in printed
    assert f"{case.val['loss']:.4f}" in printed
    assert "95 % interval" in printed
    assert "openvino" in printed
    assert "<h2>Calibration</h2>" in (case.folder / "page.html").read_text()
    lines = (case.folder / "answers.csv").read_text().splitlines()[1:]
    assert len(lines) == case.val["count"]
    assert sum(line.split(",")[3] == "0" for line in lines) == case.val["correct1"]


def test_a_file_in_a_release_is_read_by_its_recipe_and_held_to_its_claims(case: Case) -> None:
    done = mixnet(
        "evaluate", str(case.files["ckpt"]), f"--data={case.images}", "--json", cwd=case.folder
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["evaluation"]
    assert found["score"]["loss"] == pytest.approx(case.val["loss"], rel=1e-5)
    assert found["score"]["correct1"] == case.val["correct1"]
    assert found["claims"] == {"top-1": case.val["top1"], "top-5": case.val["top5"]}
    assert (found["seen"], found["unseen"]) == (0, None)
    assert found["folder"] == str(case.images)
    said = "short side 8 px bilinear, crop 8 px (recipe digits, of release "
    assert said in found["read_as"]


def test_images_that_it_was_trained_on_are_counted_beside_the_figure(
    case: Case, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    shutil.copytree(case.images, images / "val")
    trained_on = sorted((case.images.parent / "train").glob("*/*.png"))
    for path in trained_on[::5]:
        shutil.copy(path, images / "val" / path.parent.name / f"copy-{path.name}")
    copies, rest = len(trained_on[::5]), case.val["count"]
    arguments = ("evaluate", str(case.files["ckpt"]), f"--data={images}")
    done = mixnet(*arguments, "--json", "--report=page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["evaluation"]
    assert (found["score"]["count"], found["seen"]) == (rest + copies, copies)
    assert found["unseen"]["correct1"] == case.val["correct1"]
    page = (tmp_path / "page.html").read_text()
    said = f"{copies} of {rest + copies} stand in training or selection, byte for byte"
    assert said in page
    assert "Not seen in training or selection" in page
    # The same file by itself says that it does not know.
    shutil.copy(case.files["ckpt"], tmp_path / "w.ckpt")
    printed = mixnet(
        "evaluate",
        "w.ckpt",
        "--recipe=digits",
        "--set=input.image_size=8",
        f"--data={images}",
        cwd=tmp_path,
    ).stdout
    assert "seen before" in printed
    assert "not known" in printed


def test_a_file_that_is_not_what_its_release_states_is_refused(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / case.files["ckpt"].parent.name
    shutil.copytree(case.files["ckpt"].parent, folder)
    changed = folder / case.files["ckpt"].name
    content = bytearray(changed.read_bytes())
    content[-1000] ^= 1
    changed.write_bytes(content)
    done = mixnet("evaluate", str(changed), f"--data={case.images}", cwd=tmp_path)
    assert done.returncode == 4
    assert "is not what was published" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_checkpoint_of_a_run_is_read_by_the_runs_recipe(
    finished_job: FinishedJob, case: Case
) -> None:
    run = finished_job.run_dir
    checkpoint = next((run / "checkpoints").glob("*/*.ckpt"))
    origin = origin_of(checkpoint, sha256_of(checkpoint))
    assert origin == Origin(f"run {run.name}", run / "recipe.yaml")
    assert origin_of(case.files["onnx"], sha256_of(case.files["onnx"])) is None


def test_the_same_network_as_onnx_reaches_the_same(case: Case) -> None:
    printed = evaluated(case, "onnx", "--json", "--predictions=onnx.csv")
    score = json.loads(printed)["evaluation"]["score"]
    assert len((case.folder / "onnx.csv").read_text().splitlines()) == 1 + score["count"]
    for key in ("count", "correct1", "correct5"):
        assert score[key] == case.val[key]
    assert score["loss"] == pytest.approx(case.val["loss"], rel=1e-5)


def test_safetensors_hold_the_same_parameters(case: Case) -> None:
    ours, theirs = (read_parameters(case.files[kind]) for kind in ("ckpt", "safetensors"))
    assert ours.keys() == theirs.keys()
    for name, parameter in ours.items():
        np.testing.assert_array_equal(parameter.asnumpy(), theirs[name].asnumpy())


def measured(file: Path, images: Path, folder: Path, *more: str) -> dict[str, Any]:
    done = mixnet("evaluate", str(file), f"--data={images}", "--json", *more, cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["evaluation"]
    return found


def refused(file: Path, images: Path, folder: Path, *more: str) -> str:
    done = mixnet("evaluate", str(file), f"--data={images}", *more, cwd=folder)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    assert "top-1" not in done.stdout
    return done.stderr


READ_AS_DIGITS = ("--recipe=digits", "--set=input.image_size=8")


def test_images_of_other_classes_are_refused_by_name(case: Case, tmp_path: Path) -> None:
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    for number, word in enumerate(words):
        (tmp_path / "words" / word).parent.mkdir(exist_ok=True)
        (tmp_path / "words" / word).symlink_to(case.images / str(number))
    said = refused(case.files["ckpt"], tmp_path / "words", tmp_path)
    assert "10 of 10 classes that these weights were not trained for (eight, five," in said
    # Without a release around it, the file names no classes: their number is all there is.
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "one").symlink_to(case.images / "1")
    said = refused(case.files["safetensors"], tmp_path / "val", tmp_path, *READ_AS_DIGITS)
    assert "is for 10 classes" in said


def test_some_of_a_releases_classes_are_measured_by_name_and_said(
    case: Case, tmp_path: Path
) -> None:
    for name in ("7", "2"):
        shutil.copytree(case.images / name, tmp_path / "some" / name)
    found = measured(case.files["ckpt"], tmp_path / "some", tmp_path, "--predictions=some.csv")
    assert found["classes"] == [2, 10]
    assert found["labels"].startswith("by class name, of release ")
    assert (found["folder"], found["split"]) == (str(tmp_path / "some"), "")
    rows = {row.split(",", 1)[0]: row for row in (tmp_path / "some.csv").read_text().splitlines()}
    measured(case.files["ckpt"], case.images, tmp_path, "--predictions=all.csv")
    every = {row.split(",", 1)[0]: row for row in (tmp_path / "all.csv").read_text().splitlines()}
    assert len(rows) == 1 + found["score"]["count"]
    for name, row in rows.items():
        # Each image is judged as it is among all of them.
        assert row.split(",")[1:4] == every[name.replace("some/", "val/")].split(",")[1:4]


def test_class_names_from_a_file_give_the_labels_of_a_file_without_any(
    case: Case, tmp_path: Path
) -> None:
    words = [f"word{9 - number}" for number in range(10)]
    for number, word in enumerate(words):
        shutil.copytree(case.images / str(number), tmp_path / "words" / word)
    (tmp_path / "classes.txt").write_text("\n".join(words))
    more = ("--classes=classes.txt", *READ_AS_DIGITS)
    file = case.files["safetensors"]
    losses: list[dict[str, float]] = []
    for images, options in (
        (case.images, READ_AS_DIGITS),
        (tmp_path / "words", more),
        # By position, which is all there is without names, the order is the other way round.
        (tmp_path / "words", READ_AS_DIGITS),
    ):
        found = measured(file, images, tmp_path, "--predictions=rows.csv", *options)
        rows = csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())
        losses.append({Path(row["image"]).name: float(row["loss"]) for row in rows})
    own, by_name, by_position = losses
    assert by_name == pytest.approx(own, rel=1e-5)
    assert by_position != pytest.approx(own, rel=1e-3)
    assert found["labels"].startswith("by position")
    (tmp_path / "classes.txt").write_text("a\nb\n")
    assert "names 2 classes" in refused(
        case.files["safetensors"], tmp_path / "words", tmp_path, *more
    )


def test_training_images_are_not_measured_for_val(case: Case, tmp_path: Path) -> None:
    shutil.copytree(case.images, tmp_path / "d" / "train")
    said = refused(case.files["ckpt"], tmp_path / "d", tmp_path)
    assert "has no val split, only training images: name the folder" in said
    shutil.copytree(case.images, tmp_path / "d" / "test")
    found = measured(case.files["ckpt"], tmp_path / "d", tmp_path, "--report=page.html")
    assert found["split"] == "test/"
    page = (tmp_path / "page.html").read_text()
    assert f"90 images of 10 classes, test/ of {tmp_path / 'd'}" in page


def test_the_network_shows_in_the_shapes(case: Case) -> None:
    expected = LookResult(variant="s", num_classes=10, in_channels=3)
    for kind in ("ckpt", "safetensors"):
        assert look(LookRequest(file=str(case.files[kind]))) == expected
    onnx = look(LookRequest(file=str(case.files["onnx"])))
    assert onnx == LookResult(variant=None, num_classes=10, in_channels=3, image_size=8)


# MindSpore leaves a file open that is no safetensors.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_no_mixnet_is_said_in_one_line(case: Case, tmp_path: Path) -> None:
    parameter = Tensor(np.zeros((2, 2), np.float32))
    mindspore.save_checkpoint([{"name": "fc.weight", "data": parameter}], str(tmp_path / "x.ckpt"))
    with pytest.raises(CheckpointMismatch, match=r"no stem_conv\.0\.weight.*first.*fc\.weight"):
        look(LookRequest(file=str(tmp_path / "x.ckpt")))
    with pytest.raises(InputError, match=r"no checkpoint file at"):
        look(LookRequest(file=str(tmp_path / "none.ckpt")))
    with pytest.raises(InputError, match=r"expected a file \.ckpt, \.safetensors, \.pth or"):
        look(LookRequest(file=str(tmp_path / "x.pth")))
    for name in ("y.ckpt", "y.safetensors", "y.onnx"):
        (tmp_path / name).write_bytes(b"no weights at all")
        with pytest.raises(IntegrityError) as raised:
            look(LookRequest(file=str(tmp_path / name)))
        assert "\n" not in str(raised.value)


def test_what_would_fail_after_the_measurement_is_refused_before_it(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*given: Any, **more: Any) -> None:
        raise AssertionError("it was measured")

    monkeypatch.setattr(weights_file, "measure", measured)
    copy = Path(shutil.copytree(case.files["ckpt"].parent, tmp_path / "copy"))
    file = next(copy.glob("weights-*.ckpt"))

    def evaluate(**more: Any) -> None:
        evaluate_file(file, workspace=Workspace(tmp_path / "w"), data=str(case.images), **more)

    with pytest.raises(AssertionError, match="it was measured"):
        evaluate(predictions=tmp_path / "new" / "p.csv", page=tmp_path / "page.html")
    assert not (tmp_path / "new").exists()
    for name in ("predictions", "page"):
        with pytest.raises(InputError, match="is a folder, expected a file"):
            evaluate(**{name: tmp_path})
        with pytest.raises(MachineError, match="cannot write"):
            evaluate(**{name: file / "p.csv"})
        with pytest.raises(InputError, match="is named for two things"):
            evaluate(**{name: file})
    with pytest.raises(InputError, match="is named for two things"):
        evaluate(predictions=tmp_path / "x", page=tmp_path / "copy" / ".." / "x")
    digests = next(copy.glob("seen-*.bin"))
    digests.write_bytes(digests.read_bytes()[8:])
    with pytest.raises(DigestMismatch, match="is not what its manifest states"):
        evaluate()


def test_moving_averages_are_measured_where_they_are_asked_for(case: Case) -> None:
    """A file as MindCV's training writes it: the release's weights, and others as averages."""
    net = build_model("s", 10, stem_stride=1)
    load_weights(net, case.files["ckpt"])
    step = Step(net, momentum(net.trainable_params()), ema=True)
    double_averages(step)
    path = save(step, case.folder / "mixnet_s-2_74.ckpt")
    for more, said in (
        ((), "--ema takes the averages"),
        (("--ema",), "the moving averages are ta"),
    ):
        done = mixnet(
            "evaluate", str(path), f"--data={case.images}", "--recipe=digits", "--json", "--quiet",
            "--set=input.image_size=8", *more, cwd=case.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["evaluation"]
        assert said in found["left_out"]
        assert done.stderr == ""
        same = found["score"]["loss"] == pytest.approx(case.val["loss"], rel=1e-5)
        assert same is not bool(more)
    done = mixnet(
        "evaluate", str(path), f"--data={case.images}", "--recipe=digits", "--quiet",
        "--set=input.image_size=8", "--ema", cwd=case.folder,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == f"{path.name}: {found['left_out']}"


def test_a_copied_release_is_read_as_it_says_or_not_at_all(case: Case, tmp_path: Path) -> None:
    copy = shutil.copytree(case.files["ckpt"].parent, tmp_path / "copy")
    (weights,) = copy.glob("weights-*.ckpt")
    renamed = weights.rename(copy / "best.ckpt")
    done = mixnet("evaluate", str(renamed), f"--data={case.images}", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["evaluation"]
    assert found["score"]["correct1"] == case.val["correct1"]
    assert "crop 8 px (recipe digits, of release " in found["read_as"]
    (recipe,) = copy.glob("recipe-*")
    recipe.unlink()
    done = mixnet("evaluate", str(renamed), f"--data={case.images}", cwd=tmp_path)
    assert done.returncode == 2
    assert f"copy {recipe.name} from the release too, or give --recipe" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_how_a_file_alone_is_read_is_said(case: Case, tmp_path: Path) -> None:
    alone = Path(shutil.copy(case.files["ckpt"], tmp_path / "alone.ckpt"))
    done = mixnet(
        "evaluate", str(alone), f"--data={case.images}", "--json", "--set=input.image_size=32",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    read_as = json.loads(done.stdout)["evaluation"]["read_as"]
    assert "recipe finetune, as no release or run around the file says otherwise" in read_as
