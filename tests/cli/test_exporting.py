"""`mixnet export`, and `export.formats` of a recipe: files, proofs, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from mixnet_core.data.batches import evaluation_batches
from mixnet_core.data.index import read_index
from mixnet_core.errors import InputError
from mixnet_core.evaluate.prediction_table import read_table
from mixnet_core.recipe.recipe import stored_recipe
from mixnet_core.release.publish import publish_release
from tests.tiny import FinishedJob, mixnet

MANIFEST = "workspace/releases/tiny/manifest.json"


@pytest.fixture(scope="module")
def exported(
    finished_job: FinishedJob, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The tiny release in ONNX, OpenVINO and safetensors, and what the command printed."""
    out = tmp_path_factory.mktemp("exported") / "out"
    done = mixnet(
        "export",
        "tiny",
        "--to=onnx",
        "--to=openvino",
        "--to=safetensors",
        "--with-preprocessing",
        f"--out={out}",
        "--json",
        cwd=finished_job.folder,
    )
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)["exported"]


def val_images(finished_job: FinishedJob) -> tuple[np.ndarray, tuple[str, ...]]:
    """The val images as evaluation normalises them."""
    recipe = stored_recipe(finished_job.run_dir / "recipe.yaml")
    root = Path(finished_job.results["prepare"]["root"])
    index = read_index(root, "val")
    positions = np.arange(len(index.paths), dtype=np.int32)
    batches = evaluation_batches(index, positions, recipe, batch=64, threads=1)
    images = np.concatenate([batch.images for batch in batches])
    return images, tuple(finished_job.results["prepare"]["classes"])


def test_every_format_is_proven_on_every_val_image(
    finished_job: FinishedJob, exported: tuple[Path, dict[str, Any]]
) -> None:
    out, said = exported
    count = finished_job.results["prepare"]["counts"]["val"]
    proofs = {proof["format"]: proof for proof in said["proofs"]}
    assert list(proofs) == ["onnx", "openvino", "safetensors", "onnx_pixels", "openvino_pixels"]
    for proof in proofs.values():
        assert (proof["state"], proof["images"], proof["differing"]) == ("proven", count, 0)
        assert proof["compared_with"] == "the release's predictions"
        assert proof["reference"].startswith("mindspore")
        for file in proof["files"].values():
            assert (out / file["name"]).stat().st_size == file["bytes"]
    assert json.loads((out / "exports.json").read_text())["exports"] == said["proofs"]


def test_onnxruntime_alone_predicts_from_the_file_what_was_published(
    finished_job: FinishedJob, exported: tuple[Path, dict[str, Any]]
) -> None:
    import onnx
    import onnxruntime

    out, _ = exported
    images, classes = val_images(finished_job)
    model = onnx.load(str(out / "model.onnx"))
    about = {item.key: item.value for item in model.metadata_props}
    assert json.loads(about["classes"]) == list(classes)
    assert about["release"] == "tiny"
    weights = finished_job.results["validate"]["checkpoint"]["weights_sha256"]
    assert about["weights_sha256"] == weights
    assert (about["image_size"], about["interpolation"]) == ("8", "bilinear")
    session = onnxruntime.InferenceSession(str(out / "model.onnx"))
    assert session.get_inputs()[0].shape == ["N", 3, 8, 8]
    (logits,) = session.run(None, {"images": images})
    rows = read_table(finished_job.run_dir / "answers.csv", classes).rows
    assert logits.argmax(axis=1).tolist() == rows["answer"].tolist()
    # Any batch, with equal results.
    (alone,) = session.run(None, {"images": images[:1]})
    assert alone == pytest.approx(logits[:1], rel=1e-4, abs=1e-5)


def test_the_form_that_takes_pixels_normalises_them(exported: tuple[Path, dict[str, Any]]) -> None:
    import onnxruntime

    out, _ = exported
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    images = ((pixels.astype(np.float32) - 78) / 96).transpose(0, 3, 1, 2)
    plain = onnxruntime.InferenceSession(str(out / "model.onnx"))
    whole = onnxruntime.InferenceSession(str(out / "model-pixels.onnx"))
    (wanted,) = plain.run(None, {"images": images})
    (found,) = whole.run(None, {"pixels": pixels})
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_the_readme_says_how_to_load_it_and_the_files_are_measured_as_the_release(
    finished_job: FinishedJob, exported: tuple[Path, dict[str, Any]]
) -> None:
    out, _ = exported
    text = (out / "README.md").read_text()
    assert "pip install onnxruntime" in text
    assert "| openvino |" in text
    data = Path(finished_job.results["prepare"]["root"])
    for file in ("mindcv.safetensors", "model.onnx"):
        done = mixnet(
            "evaluate",
            str(out / file),
            f"--data={data}",
            f"--recipe={finished_job.run_dir / 'recipe.yaml'}",
            "--json",
            cwd=finished_job.folder,
        )
        assert done.returncode == 0, done.stderr
        score = json.loads(done.stdout)["evaluation"]["score"]
        assert score["correct1"] == finished_job.results["validate"]["score"]["correct1"]


def test_what_is_asked_wrongly_is_refused_before_any_work(
    finished_job: FinishedJob, tmp_path: Path
) -> None:
    def refused(*arguments: str) -> str:
        done = mixnet("export", *arguments, cwd=finished_job.folder)
        assert done.returncode == 2, done.stderr
        return done.stderr

    assert "did you mean onnx" in refused("tiny", "--to=onx", "--out=x")
    assert "MindCV's conventions" in refused("tiny", "--to=timm", "--out=x")
    (tmp_path / "mine.txt").write_text("x")
    said = refused("tiny", "--to=onnx", f"--out={tmp_path}")
    assert "holds something else than an earlier export" in said
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_images_nothing_is_written_unless_unproven_is_said(
    finished_job: FinishedJob, tmp_path: Path
) -> None:
    released = json.loads((finished_job.folder / MANIFEST).read_text())
    folder = (finished_job.folder / MANIFEST).parent
    recipe = yaml.safe_load((folder / released["files"]["recipe"]["name"]).read_text())
    recipe["data"] |= {"source": "image_folder", "path": str(tmp_path / "gone")}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    publish_release(
        "elsewhere",
        registry=str(tmp_path / "releases"),
        files={
            "weights": folder / released["files"]["weights"]["name"],
            "recipe": tmp_path / "recipe.yaml",
        },
        facts=released["facts"],
    )
    out = tmp_path / "out"
    registry = f"--registry={tmp_path / 'releases'}"
    arguments = ("export", "elsewhere", registry, "--to=onnx", f"--out={out}")
    done = mixnet(*arguments, cwd=finished_job.folder)
    assert done.returncode == 2
    assert "not proven: images are not here" in done.stderr
    assert "--unproven" in done.stderr
    assert not out.exists()
    # A folder that was named, and is not there, is a slip.
    named = f"--data={tmp_path / 'slip'}"
    done = mixnet(*arguments, "--unproven", named, cwd=finished_job.folder)
    assert done.returncode == 2
    assert not out.exists()
    done = mixnet(*arguments, "--unproven", "--json", cwd=finished_job.folder)
    assert done.returncode == 0, done.stderr
    (proof,) = json.loads(done.stdout)["exported"]["proofs"]
    assert (proof["state"], proof["images"]) == ("unproven", 0)
    assert "not proven" in (out / "README.md").read_text()
    assert (out / "model.onnx").is_file()


@pytest.mark.long
def test_the_printed_lines_classify_pictures_in_an_environment_of_onnxruntime_alone(
    finished_job: FinishedJob, exported: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = exported
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-q", "onnxruntime"]
    subprocess.run(pip, check=True, timeout=600)
    program = (out / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    (out / "classify.py").write_text(program)
    assert len(program.splitlines()) <= 38
    classes = tuple(finished_job.results["prepare"]["classes"])
    table = read_table(finished_job.run_dir / "answers.csv", classes)
    root = Path(finished_job.results["prepare"]["root"])
    for image, row in list(zip(table.images, table.rows, strict=True))[:5]:
        picture = tmp_path / "picture.ppm"
        Image.open(root / image).convert("RGB").save(picture)
        done = subprocess.run(
            [str(python), "classify.py", str(picture)],
            cwd=out,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        share, _, name = done.stdout.splitlines()[0].strip().partition("  ")
        assert name == classes[row["answer"]]
        assert float(share.rstrip("%")) == pytest.approx(100 * row["confidence"], abs=0.1)


def test_an_address_is_no_folder_to_export_into() -> None:
    from mixnet_core.cli.exporting import export

    with pytest.raises(InputError, match=r"--out s3:/bucket/x is an address"):
        export("mine", ["onnx"], Path("s3://bucket/x"))


def test_the_program_has_no_more_than_it_says() -> None:
    from mixnet_core.exports.snippet import snippet

    imported = [line for line in snippet().splitlines() if "import" in line]
    assert imported == [
        "import json, re, sys",
        "import numpy as np, onnxruntime",
        "    from PIL import Image  # pip install pillow, for all but binary PPM of 8 bits",
    ]
    compile(snippet("x.onnx"), "classify.py", "exec")
    assert sys.version_info >= (3, 11)


def test_a_run_is_exported_as_its_release_is_and_an_export_is_not(
    finished_job: FinishedJob, exported: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    released, _ = exported
    out = tmp_path / "of-the-run"
    done = mixnet(
        "export",
        str(finished_job.run_dir),
        "--to=safetensors",
        f"--out={out}",
        cwd=finished_job.folder,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads((folder / "exports.json").read_text()) for folder in (out, released)]
    ours, theirs = (
        next(proof for proof in found["exports"] if proof["format"] == "safetensors")
        for found in said
    )
    assert (ours["images"], ours["differing"]) == (theirs["images"], 0)
    again = mixnet(
        "export",
        str(released / "model.onnx"),
        "--to=openvino",
        f"--out={tmp_path / 'again'}",
        cwd=finished_job.folder,
    )
    assert again.returncode == 2
    assert "is an export itself" in again.stderr
    assert not (tmp_path / "again").exists()
