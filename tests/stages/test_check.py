from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixnet_core import errors
from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.imagenet.listing import Listed, write_listing
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.data.sources import fashion_mnist
from mixnet_core.recipe.recipe import Recipe, load_recipe, save_recipe
from mixnet_core.release.publish import publish_release
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.values import FetchedWeights
from mixnet_core.stages import check as preflight
from mixnet_core.stages.check import (
    check_all,
    check_data,
    check_prepared,
    check_publish,
    check_weights,
    require,
)
from mixnet_core.stages.check_result import CheckResult
from mixnet_core.stages.context import open_context
from mixnet_core.stages.options import adjusted_recipe
from mixnet_core.storage.files import sha256_of
from tests.data.samples import data, write_idx_folder, write_image, write_image_folder
from tests.mindcv_cells import TrainedByMindcv
from tests.stages.checking import failure, with_versions
from tests.web_server import Server

NAMES = ["workspace", "disk", "packages", "extras", "device", "operators", "engine", "msrun"]
NAMES += ["weights", "data", "publish"]


def test_a_machine_that_can_run_the_digits_recipe_passes_every_check(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    results = check_all(
        load_recipe("digits"), workspace=workspace, registry=f"file://{tmp_path}/releases"
    )
    assert [result.name for result in results] == NAMES
    assert all(result.ok and result.detail and not result.fix for result in results)
    require(results)
    assert list(workspace.root.iterdir()) == []


def test_every_failure_is_reported_and_the_first_is_raised(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    recipe = load_recipe("mixnet_s", {"data.path": str(tmp_path / "nowhere")})
    results = check_all(recipe, workspace=Workspace(tmp_path / "file"), registry="ftp://somewhere")
    assert [result.name for result in results] == NAMES
    failed = [result for result in results if not result.ok]
    assert {"workspace", "data", "publish"} <= {result.name for result in failed}
    with pytest.raises(getattr(errors, failed[0].error)) as caught:
        require(results)
    assert failed[0].detail in str(caught.value)


def test_imagenets_classes_are_looked_for_by_name(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path, dict.fromkeys(wnids()[:3], 2), {wnids()[0]: 1})
    error = failure(check_data(data("imagenet", images), tmp_path))
    assert "train lacks images of 997 of ImageNet's 1,000 classes" in str(error)
    result = check_data(data("imagenet", images, subset=True), tmp_path)
    assert result.ok
    assert "3 of ImageNet's 1,000 classes" in result.detail
    (images / "val" / "cats").mkdir()
    error = failure(check_data(data("imagenet", images, subset=True), tmp_path))
    assert "the first is 'cats'" in str(error)


def test_of_a_flat_val_the_labels_are_looked_at_instead_of_class_folders(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {wnids()[0]: 1}, {wnids()[0]: 1})
    (images / "val" / wnids()[0]).rename(tmp_path / "moved")
    write_image(images / "val" / "ILSVRC2012_val_00000001.png", "v")
    labels = tmp_path / "labels.txt"
    labels.write_text(f"{wnids()[0]}\n")
    flat = data("imagenet", images, subset=True, val_labels=str(labels))
    assert check_data(flat, tmp_path).ok
    labels.write_text(f"{wnids()[0]}\n{wnids()[0]}\n")
    assert "2 labels" in str(failure(check_data(flat, tmp_path)))


def test_an_unpacked_imagenets_listing_is_compared_with_its_fingerprint(tmp_path: Path) -> None:
    image = write_image(tmp_path / "train" / wnids()[5] / "a.JPEG", "a")
    row = Listed(f"train/{wnids()[5]}/a.JPEG", wnids()[5], image.stat().st_size, "0" * 64, 6, 6, "")
    fingerprint = write_listing(tmp_path, {"train": [row]}, {"subset": True})
    settings = data("imagenet", tmp_path, subset=True)
    detail = check_data(settings, tmp_path).detail
    assert f"1 train images, 0 val images, fingerprint {fingerprint[:12]} as listed" in detail
    facts = tmp_path / "imagenet.json"
    facts.write_text(facts.read_text().replace(fingerprint, "0" * 64))
    error = failure(check_data(settings, tmp_path))
    assert isinstance(error, errors.IntegrityError)
    assert f"has fingerprint {fingerprint}, its imagenet.json says 0000" in str(error)


def test_lists_are_counted(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(8)]
    rows = [f"{name},{number % 2}" for number, name in enumerate(names)]
    (tmp_path / "train.csv").write_text("\n".join(["path,label", *rows, ""]))
    missing = failure(check_data(data("lists", tmp_path), tmp_path))
    assert "0.png, listed in train.csv, cannot be read" in str(missing)
    for name in names:
        write_image(tmp_path / name, name)
    detail = check_data(data("lists", tmp_path), tmp_path).detail
    assert "2 classes, 4 train, 2 select, 2 val images" in detail
    (tmp_path / "train.csv").write_text("file\n")
    assert "expected a header" in str(failure(check_data(data("lists", tmp_path), tmp_path)))


def test_digits_need_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_data(data("digits"), tmp_path).ok
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    with_versions(monkeypatch, tmp_path, {})
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if "editable" not in str(f)])
    result = check_data(data("digits"), tmp_path)
    monkeypatch.undo()
    error = failure(result)
    assert isinstance(error, errors.MachineError)
    assert "pip install scikit-learn" in str(error)


def no_train(images: Path) -> None:
    (images / "train").rename(images / "other")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images: images.rename(images.with_name("moved")), "is no folder"),
        (no_train, "has no folder train/"),
    ],
)
def test_an_image_folder_is_looked_at(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 4, "bee": 4})
    result = check_data(data("image_folder", images), tmp_path)
    assert result.ok
    assert "2 classes" in result.detail
    spoil(images)
    error = failure(check_data(data("image_folder", images), tmp_path))
    assert isinstance(error, errors.DatasetError)
    assert message in str(error)


def test_fashion_mnist_is_looked_for_before_the_network_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Port 1 refuses: nothing listens there.
    monkeypatch.setattr(fashion_mnist, "URL", "http://127.0.0.1:1/")
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "debian")
    error = failure(check_data(data("fashion_mnist"), tmp_path))
    assert isinstance(error, errors.TransientError)
    assert "cannot fetch http://127.0.0.1:1/train-images" in str(error)

    write_idx_folder(tmp_path / "fashion_mnist-idx", [0, 1], [0])
    assert check_data(data("fashion_mnist"), tmp_path).ok
    given = write_idx_folder(tmp_path / "given", [0, 1] * 3, [0])
    assert check_data(data("fashion_mnist", given), tmp_path).ok
    (given / "train-labels-idx1-ubyte.gz").unlink()
    assert "has no train-labels" in str(failure(check_data(data("fashion_mnist", given), tmp_path)))


def test_a_publish_target_is_written_to_and_left_as_it_was(tmp_path: Path) -> None:
    assert check_publish(f"file://{tmp_path}/releases").ok
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_publish_target_that_cannot_be_used_keeps_its_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = failure(check_publish(f"file://{tmp_path}/file/releases"))
    assert isinstance(blocked, errors.MachineError)
    unknown = failure(check_publish("ftp://somewhere"))
    assert isinstance(unknown, errors.InputError)


def extra_class(images: Path) -> None:
    write_image(images / "val" / "zebra" / "1.png", "z")


def other_case(images: Path) -> None:
    (images / "val" / "ant").rename(images / "val" / "Ant")


def flat_val(images: Path) -> None:
    for folder in (images / "val").iterdir():
        for image in folder.iterdir():
            image.rename(images / "val" / f"{folder.name}-{image.name}")
        folder.rmdir()


def empty_class(images: Path) -> None:
    (images / "train" / "cow").mkdir()


def nested(images: Path) -> None:
    (images / "train" / "ant" / "more").mkdir()


def too_few(images: Path) -> None:
    for image in sorted((images / "train" / "ant").iterdir())[1:]:
        image.unlink()


@pytest.mark.parametrize(
    "spoil",
    [extra_class, other_case, flat_val, empty_class, nested, too_few],
    ids=lambda spoil: spoil.__name__,
)
def test_what_prepare_would_refuse_of_a_folder_check_refuses_in_the_same_words(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 4, "bee": 4}, {"ant": 2, "bee": 2})
    assert check_data(data("image_folder", images), tmp_path).ok
    spoil(images)
    with pytest.raises(errors.DatasetError) as refused:
        prepare_dataset(data("image_folder", images), tmp_path / "datasets")
    assert str(failure(check_data(data("image_folder", images), tmp_path))) == str(refused.value)


def test_a_prepared_dataset_is_looked_at_instead_of_images_that_are_gone(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 4, "bee": 4})
    dataset = prepare_dataset(data("image_folder", images), tmp_path / "datasets")
    shutil.rmtree(images)
    assert check_prepared(dataset).ok
    other = dataset.model_copy(update={"fingerprint": "0" * 64})
    assert isinstance(failure(check_prepared(other)), errors.IntegrityError)
    shutil.rmtree(dataset.root)
    assert isinstance(failure(check_prepared(dataset)), errors.DatasetError)


def starting_from(name: str, **settings: Any) -> Recipe:
    changes = {key.replace("__", "."): value for key, value in settings.items()}
    return load_recipe("digits", {"weights.name": name} | changes)


def test_weights_of_the_catalog_are_asked_for_within_seconds(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"name": "mine", "url": server.url, "sha256": "0" * 64, "variant": "s"}
    entry |= {"flavour": "mindcv", "num_classes": 10, "source": "this test"}
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(json.dumps({"releases": [entry]}))
    monkeypatch.setenv("MIXNET_CATALOG", str(catalog))
    result = check_weights(starting_from("mine"), tmp_path / "cache", "file:///none")
    assert result.detail == "mine can be fetched"
    assert server.asked == ["HEAD /weights.ckpt"]
    for answer, error in ((404, errors.ReleaseMissing), (503, errors.TransientError)):
        server.answers = [answer]
        refused = failure(check_weights(starting_from("mine"), tmp_path / "cache", "file:///none"))
        assert type(refused) is error
        assert f"{server.url}" in str(refused)
    entry["url"] = "http://127.0.0.1:1/weights.ckpt"
    catalog.write_text(json.dumps({"releases": [entry]}))
    refused = failure(check_weights(starting_from("mine"), tmp_path / "cache", "file:///none"))
    assert isinstance(refused, errors.TransientError)
    assert "cannot fetch http://127.0.0.1:1/weights.ckpt: the connection failed" in str(refused)
    assert not (tmp_path / "cache").exists()


def test_weights_that_the_run_has_are_not_asked_for(
    tmp_path: Path, trained_by_mindcv: TrainedByMindcv
) -> None:
    path = trained_by_mindcv.plain
    fetched = FetchedWeights(name="gone", path=str(path), sha256=sha256_of(path))
    recipe = starting_from("gone")
    assert check_weights(recipe, tmp_path, "file:///none", fetched).ok
    assert isinstance(failure(check_weights(recipe, tmp_path, "file:///none")), errors.InputError)


def test_a_file_of_weights_is_looked_into_before_images_are_prepared(
    tmp_path: Path, trained_by_mindcv: TrainedByMindcv
) -> None:
    def checked(path: Path, **settings: Any) -> CheckResult:
        recipe = starting_from(str(path), network__num_classes=10, **settings)
        return check_weights(recipe, tmp_path / "cache", "file:///none")

    result = checked(trained_by_mindcv.training)
    assert result.ok
    assert "is on this machine; left out of a training's state: 252 parameters" in result.detail
    assert (
        "the moving averages are taken"
        in checked(trained_by_mindcv.averaged, weights__ema=True).detail
    )
    refused = failure(checked(trained_by_mindcv.plain, weights__ema=True))
    assert isinstance(refused, errors.InputError)
    refused = failure(checked(trained_by_mindcv.plain, network__variant="l"))
    assert isinstance(refused, errors.CheckpointMismatch)
    (tmp_path / "login.ckpt").write_bytes(b"<!DOCTYPE html>")
    assert "a page of a server" in str(failure(checked(tmp_path / "login.ckpt")))
    assert "no file at" in str(failure(checked(tmp_path / "none.ckpt")))


def test_a_recipe_from_scratch_asks_nobody(tmp_path: Path) -> None:
    result = check_weights(load_recipe("digits"), tmp_path, "file:///none")
    assert (result.ok, result.detail) == (True, "training starts from scratch")


def test_run_ends_before_preparing_where_the_weights_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"name": "mine", "url": "http://127.0.0.1:1/w.ckpt", "sha256": "0" * 64}
    entry |= {"variant": "s", "flavour": "mindcv", "num_classes": 10, "source": "this test"}
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(json.dumps({"releases": [entry]}))
    context = open_context(
        starting_from("mine"), Workspace(tmp_path / "w"), registry=f"file://{tmp_path}/releases"
    )
    monkeypatch.setenv("MIXNET_CATALOG", str(catalog))
    with pytest.raises(errors.TransientError, match=r"cannot fetch http://127\.0\.0\.1:1/w\.ckpt"):
        preflight.check(context)
    assert not context.workspace.datasets.exists()


def test_exports_that_the_network_has_not_are_refused_before_it_trains(tmp_path: Path) -> None:
    def found(**settings: Any) -> list[CheckResult]:
        changes = {key.replace("__", "."): value for key, value in settings.items()}
        results = check_all(
            load_recipe("digits", changes),
            workspace=Workspace(tmp_path / "workspace"),
            registry=f"file://{tmp_path}/releases",
        )
        return [result for result in results if result.name == "exports"]

    assert found() == []
    (possible,) = found(export__formats=["onnx", "safetensors"])
    assert (possible.ok, possible.detail) == (True, "onnx, safetensors are possible")
    (refused,) = found(export__formats=["onnx", "timm"])
    assert isinstance(failure(refused), errors.InputError)
    assert "the recipe follows MindCV's conventions" in refused.detail


def published(root: Path, name: str, classes: list[str] | None, *, recipe: bool = True) -> None:
    """A release whose weights are no network's, in the registry below a folder."""
    files = {"weights": root / "w.ckpt"}
    files["weights"].write_bytes(b"weights")
    if recipe:
        images = write_image_folder(root / f"of-{name}", dict.fromkeys(classes or "abc", 2))
        files["recipe"] = root / "recipe.yaml"
        save_recipe(adjusted_recipe("digits", data=str(images)), files["recipe"])
    facts: dict[str, Any] = {} if classes is None else {"classes": classes}
    publish_release(name, registry=f"file://{root}/releases", files=files, facts=facts)


def test_the_release_to_replace_is_looked_at_before_the_training(tmp_path: Path) -> None:
    published(tmp_path, "old", ["bee", "ant"])
    published(tmp_path, "other", ["ant", "cow"])
    published(tmp_path, "more", ["ant", "bee", "cow"])
    published(tmp_path, "without", ["ant", "bee"], recipe=False)
    published(tmp_path, "silent", None)
    images = write_image_folder(tmp_path / "images", {"ant": 20, "bee": 20})

    def checked(name: str) -> CheckResult:
        settings = {"acceptance.replaces": name, "training.global_batch": 4}
        results = check_all(
            adjusted_recipe("digits", data=str(images), settings=settings),
            workspace=Workspace(tmp_path / "workspace"),
            registry=f"file://{tmp_path}/releases",
        )
        assert [result.name for result in results] == [*NAMES[:-1], "replaces", "publish"]
        assert all(result.ok for result in results if result.name != "replaces")
        return results[-2]

    assert checked("old").detail == "old can be measured"
    assert "names no classes: labels are taken by position" in checked("silent").detail
    for name, error, message in (
        ("gone", errors.InputError, "no release 'gone'"),
        ("other", errors.DatasetError, r"1 of 2 classes that these weights .* \(bee\)"),
        ("more", errors.DatasetError, "lacks 1 of the release's 3 classes, the first is 'cow'"),
        ("without", errors.IntegrityError, "holds no recipe, so it cannot be measured"),
        ("mixnet_s-910v2", errors.DatasetError, "2 of 2 classes that these weights"),
    ):
        refused = failure(checked(name))
        assert type(refused) is error
        assert re.search(message, str(refused)), refused
    next((tmp_path / "releases" / "old").glob("weights-*")).unlink()
    assert type(failure(checked("old"))) is errors.ReleaseMissing
