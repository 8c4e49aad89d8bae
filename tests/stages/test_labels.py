"""Whose class names give an image its label."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.errors import DatasetError
from mixnet_core.release.manifest import PublishedRelease, ReleasedFile
from mixnet_core.release.origin import Origin
from mixnet_core.runs.records import begin, write_record
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.stages.labels import labels_of

FILE = Path("weights.ckpt")


def of_release(*classes: str) -> Origin:
    release = PublishedRelease(
        name="pets",
        uri="file:///releases/pets",
        files={"weights": ReleasedFile(name=f"weights-{'0' * 12}.ckpt", sha256="0" * 64, bytes=1)},
        facts={"classes": list(classes)},
        manifest_sha256="0" * 64,
    )
    return Origin("release pets", Path("recipe.yaml"), release)


def dataset(*classes: str) -> PreparedDataset:
    return PreparedDataset(root="/datasets/pets", fingerprint="0" * 64, classes=classes, counts={})


def given(folder: Path, *classes: str) -> Path:
    file = folder / "classes.txt"
    file.write_text("\n".join(classes))
    return file


def test_a_releases_classes_are_those_of_its_manifest() -> None:
    labels = labels_of(FILE, 2, of_release("dog", "cat"), None)
    assert labels.classes == ("dog", "cat")
    assert str(labels) == "by class name, of release pets"


def test_other_names_may_be_given_but_not_the_same_ones_in_another_order(tmp_path: Path) -> None:
    origin = of_release("dog", "cat")
    assert labels_of(FILE, 2, origin, given(tmp_path, "Hund", "Katze")).classes == ("Hund", "Katze")
    assert labels_of(FILE, 2, origin, given(tmp_path, "dog", "cat")).classes == ("dog", "cat")
    with pytest.raises(DatasetError, match="in another order than release pets"):
        labels_of(FILE, 2, origin, given(tmp_path, "cat", "dog"))
    with pytest.raises(DatasetError, match=r"names 2 classes, weights\.ckpt is for 3"):
        labels_of(FILE, 3, None, given(tmp_path, "cat", "dog"))


def test_a_runs_classes_are_those_it_was_trained_for_whatever_was_prepared_since(
    tmp_path: Path,
) -> None:
    run = RunDir(tmp_path / "run")
    origin = Origin("run run", run.recipe)
    assert labels_of(FILE, 2, origin, None).classes is None
    write_record(run, "prepare", {}, dataset("a", "b"))
    begin(run, "train", "key", "another dataset", dataset("a", "b"))
    write_record(run, "prepare", {}, dataset("b", "z"))
    assert labels_of(FILE, 2, origin, None).classes == ("a", "b")


def test_of_an_earlier_versions_run_only_what_was_prepared_before_it_began_is_known(
    tmp_path: Path,
) -> None:
    run = RunDir(tmp_path / "run")
    write_record(run, "prepare", {}, dataset("a", "b"))
    begin(run, "train", "key", "another dataset")
    os.utime(run.record("prepare"), ns=(1, 1))
    assert labels_of(FILE, 2, Origin("run run", run.recipe), None).classes == ("a", "b")
    os.utime(run.record("prepare"), ns=(10**19 // 2, 10**19 // 2))
    assert labels_of(FILE, 2, Origin("run run", run.recipe), None).classes is None


def test_a_thousand_classes_of_unknown_names_are_imagenets() -> None:
    assert labels_of(FILE, 1000, None, None).classes == wnids()
    assert labels_of(FILE, 10, None, None).classes is None
