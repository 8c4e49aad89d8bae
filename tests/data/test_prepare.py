from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mixnet_core.data.index import SPLITS, read_index
from mixnet_core.data.prepare import expect_classes, prepare_dataset
from mixnet_core.errors import DatasetError, MachineError
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.values import PreparedDataset
from tests.data.samples import contents, data, snapshot, write_idx_folder, write_image_folder

LABELS = [0, 1, 2, 3] * 25


def manifest(dataset: PreparedDataset) -> Any:
    return json.loads((Path(dataset.root) / "manifest.json").read_text())


@pytest.fixture
def idx(tmp_path: Path) -> Path:
    return write_idx_folder(tmp_path / "idx", LABELS, [3, 2, 1, 0])


def test_the_digits_recipe_gives_the_same_dataset_on_every_machine(tmp_path: Path) -> None:
    dataset = prepare_dataset(load_recipe("digits").data, tmp_path)
    assert dataset.classes == tuple("0123456789")
    assert dataset.counts == {"train": 1210, "select": 136, "val": 451}
    # Changes only with what is prepared: then raise index.FORMAT too.
    assert dataset.fingerprint.startswith("e1904d27bf04f0da")


def test_digits_use_the_whole_range_of_grey_and_keep_their_labels(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    dataset = prepare_dataset(data("digits"), tmp_path)
    bundle = load_digits()
    for split in SPLITS:
        index = read_index(Path(dataset.root), split)
        for path, label in list(zip(index.paths, index.labels, strict=True))[::40]:
            position = int(Path(path).stem)
            assert label == bundle.target[position]
            pixels = np.asarray(Image.open(Path(dataset.root) / path)).astype(float)
            assert np.abs(pixels - bundle.images[position] * 255 / 16).max() <= 0.5


def test_splits_share_no_image_and_balance_classes_exactly(tmp_path: Path, idx: Path) -> None:
    dataset = prepare_dataset(data("fashion_mnist", idx), tmp_path / "datasets")
    assert len(contents(dataset)) == 104
    assert manifest(dataset)["counts"] == {
        "train": {"0": 20, "1": 20, "2": 20, "3": 20},
        "select": {"0": 5, "1": 5, "2": 5, "3": 5},
        "val": {"0": 1, "1": 1, "2": 1, "3": 1},
    }


def test_the_manifest_says_how_it_came_about(tmp_path: Path, idx: Path) -> None:
    dataset = prepare_dataset(data("fashion_mnist", idx, train_limit=40), tmp_path / "datasets")
    said = manifest(dataset)
    assert said["source"] == "fashion_mnist"
    assert said["settings"] == {
        "val_share": None, "train_limit": 40, "select_share": 0.2, "split_seed": 0,
        "layout": "links",
    }  # fmt: skip
    assert said["fingerprint"] == dataset.fingerprint
    assert said["classes"] == list(dataset.classes)
    assert Path(dataset.root).name == f"fashion_mnist-{said['key'][:8]}"
    assert str(tmp_path) not in json.dumps(said)
    assert (Path(dataset.root) / "classes.txt").read_text() == "0\n1\n2\n3\n"


def test_every_digest_in_the_index_is_its_files(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 5, "bee": 5})
    dataset = prepare_dataset(data("image_folder", images), tmp_path / "datasets")
    lines = (Path(dataset.root) / "train.csv").read_text().splitlines()
    assert lines[0] == "path,label,sha256,bytes"
    assert len(lines) == 1 + dataset.counts["train"]
    for line in lines[1:]:
        path, _, digest, size = line.split(",")
        content = (Path(dataset.root) / path).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), str(len(content))) == (digest, size)


def test_a_second_call_does_nothing(tmp_path: Path, idx: Path) -> None:
    settings = data("fashion_mnist", idx)
    first = prepare_dataset(settings, tmp_path / "datasets")
    before = snapshot(tmp_path / "datasets")
    told: list[int] = []
    second = prepare_dataset(settings, tmp_path / "datasets", lambda done, _: told.append(done))
    assert snapshot(tmp_path / "datasets") == before
    assert not told
    assert (first.reused, second.reused) == (False, True)
    assert first == second.model_copy(update={"reused": False})


def test_progress_counts_every_image_once_in_order(tmp_path: Path, idx: Path) -> None:
    told: list[tuple[int, int]] = []
    prepare_dataset(data("fashion_mnist", idx), tmp_path, lambda *now: told.append(now))
    assert told == [(done, 104) for done in range(1, 105)]


@pytest.mark.parametrize(
    "change",
    [{"train_limit": 40}, {"select_share": 0.3}, {"split_seed": 1}],
)
def test_other_settings_make_another_dataset(
    tmp_path: Path, idx: Path, change: dict[str, Any]
) -> None:
    one = prepare_dataset(data("fashion_mnist", idx), tmp_path / "datasets")
    other = prepare_dataset(data("fashion_mnist", idx, **change), tmp_path / "datasets")
    assert one.root != other.root
    assert one.fingerprint != other.fingerprint
    assert prepare_dataset(data("fashion_mnist", idx), tmp_path / "datasets").reused


def test_val_share_is_no_setting_of_a_source_with_its_own_val(tmp_path: Path, idx: Path) -> None:
    prepare_dataset(data("fashion_mnist", idx), tmp_path / "datasets")
    assert prepare_dataset(data("fashion_mnist", idx, val_share=0.7), tmp_path / "datasets").reused


def test_the_fingerprint_is_equal_on_two_roots_whatever_order_files_have_on_disk(
    tmp_path: Path,
) -> None:
    datasets = [
        prepare_dataset(data("image_folder", folder), tmp_path / name / "datasets")
        for name, folder in (
            ("one", write_image_folder(tmp_path / "a", {"ant": 9, "bee": 8}, {"bee": 3})),
            ("two", write_image_folder(tmp_path / "b", {"ant": 9, "bee": 8}, {"bee": 3}, True)),
        )
    ]
    assert datasets[0].fingerprint == datasets[1].fingerprint
    for split in SPLITS:
        one, two = (Path(dataset.root) / f"{split}.csv" for dataset in datasets)
        assert one.read_bytes() == two.read_bytes()


def test_one_pixel_changes_the_fingerprint(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 9, "bee": 8})
    before = prepare_dataset(data("image_folder", images), tmp_path / "datasets")
    path = images / "train" / "bee" / "003.png"
    image = Image.open(path)
    image.load()
    red, green, blue = image.getpixel((2, 2))
    image.putpixel((2, 2), (red ^ 1, green, blue))
    path.unlink()
    image.save(path)
    after = prepare_dataset(data("image_folder", images), tmp_path / "datasets")
    assert after.fingerprint != before.fingerprint
    assert len(contents(after).keys() - contents(before).keys()) == 1


def test_images_of_a_folder_are_links_and_survive_the_originals(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 4, "bee": 4})
    dataset = prepare_dataset(data("image_folder", images), tmp_path / "datasets")
    assert all(path.stat().st_nlink == 2 for path in images.rglob("*.png"))
    shutil.rmtree(images)
    assert len(contents(dataset)) == 8


def test_a_folder_whose_key_only_begins_alike_is_not_taken(tmp_path: Path, idx: Path) -> None:
    settings = data("fashion_mnist", idx)
    first = prepare_dataset(settings, tmp_path / "datasets")
    said = manifest(first)
    other = said | {"key": said["key"][:8] + "0" * 56}
    (Path(first.root) / "manifest.json").write_text(json.dumps(other))
    assert not prepare_dataset(settings, tmp_path / "datasets").reused
    assert manifest(first) == said


def test_a_corrupt_image_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 4, "bee": 4})
    broken = images / "train" / "bee" / "002.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    with pytest.raises(DatasetError, match=r"train/bee/002\.png cannot be used"):
        prepare_dataset(data("image_folder", images), tmp_path / "datasets")
    assert list((tmp_path / "datasets").iterdir()) == []


def test_a_class_with_too_few_images_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 4, "bee": 2})
    with pytest.raises(DatasetError, match="class 'bee' has 2 training images, expected at least"):
        prepare_dataset(data("image_folder", images), tmp_path / "datasets")
    assert not (tmp_path / "datasets").exists()


def test_without_scikit_learn_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None in sys.modules is what Python itself takes for "cannot be imported".
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MachineError, match="pip install scikit-learn"):
        prepare_dataset(data("digits"), tmp_path)


def test_the_class_count_is_taken_or_must_fit(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 4, "bee": 4})
    dataset = prepare_dataset(data("image_folder", images), tmp_path / "datasets")
    assert expect_classes(dataset, None) == 2
    assert expect_classes(dataset, 2) == 2
    with pytest.raises(DatasetError, match=r"has 2 classes, network\.num_classes says 10"):
        expect_classes(dataset, 10)


def test_preparing_never_imports_mindspore() -> None:
    script = (
        "import sys; import mixnet_core.data.prepare, mixnet_core.stages.check;"
        "assert 'mindspore' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
